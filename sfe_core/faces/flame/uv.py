"""FLAME's UV unwrapping: the template mesh, vertex values as pictures, pictures on pixels.

A UV map here is a picture [C, S, S] whose pixel (row r, column c) has its centre at
u = (c + ½) / S, v = 1 - (r + ½) / S, which is also what `grid_sample(align_corners=False)` takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from sfe_core.arrays import Floats
from sfe_core.errors import UserError
from sfe_core.faces.flame.files import DECA_PAGE, TEMPLATE, locate
from sfe_core.faces.rendering import Raster, raycast

UV_SIZE = 256


@dataclass(frozen=True)
class HeadTemplate:
    """`head_template.obj`. Its faces are FLAME's in an order of its own.

    A raster cast with `faces` finds its texture coordinates through `uv_faces`, row by row.
    """

    vertices: Floats  # [V, 3]
    faces: NDArray[np.int32]  # [F, 3] vertex numbers
    uv: Floats  # [T, 2] in [0, 1], v upwards
    uv_faces: NDArray[np.int32]  # [F, 3] rows of `uv`


def load_head_template(folder_or_obj: Path) -> HeadTemplate:
    """Read the template mesh: triangles written as vertex/texture.

    Args:
        folder_or_obj: the file itself, or a folder that holds it (see `flame.files`).

    Raises:
        UserError: no such file, no texture coordinates, or faces that are not triangles.
    """
    given = Path(folder_or_obj)
    path = given if given.suffix == ".obj" else locate(given, TEMPLATE)
    remedy = f"download it again from {DECA_PAGE}"
    if not path.is_file():
        raise UserError(path, "is missing", f"download it from {DECA_PAGE}")
    rows: dict[str, list[list[str]]] = {"v": [], "vt": [], "f": []}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        words = line.split()
        if words and words[0] in rows:
            rows[words[0]].append(words[1:])
    try:
        corners = np.array([[c.split("/")[:2] for c in face] for face in rows["f"]], np.int32) - 1
        vertices = np.array([row[:3] for row in rows["v"]], np.float64)
        uv = np.array([row[:2] for row in rows["vt"]], np.float64)
    except ValueError as error:
        raise UserError(path, f"is not a mesh of textured triangles ({error})", remedy) from error
    if corners.ndim != 3 or corners.shape[1:] != (3, 2) or not len(uv):
        raise UserError(path, "is not a mesh of textured triangles", remedy)
    faces, uv_faces = (np.ascontiguousarray(corners[:, :, k]) for k in (0, 1))
    for numbers, count in ((faces, len(vertices)), (uv_faces, len(uv))):
        if numbers.min() < 0 or numbers.max() >= count:
            raise UserError(path, f"has a face beyond its {count} points", remedy)
    return HeadTemplate(vertices, faces, uv, uv_faces)


class UvAtlas(nn.Module):
    """Vertex values to UV maps, and UV maps to the pixels of a raster.

    Args:
        template: from `load_head_template`.
        size: S, side of the maps in pixels.

    Buffers: corners [S², 3] vertex numbers and weights [S², 3] (all 0 outside the unwrapping),
    inside [S, S] bool.
    """

    corners: Tensor
    weights: Tensor
    inside: Tensor

    def __init__(self, template: HeadTemplate, size: int = UV_SIZE) -> None:
        super().__init__()
        self.size = size
        self.face_uv = face_uv(template)
        face_index, weights = rasterize_uv(template, size)
        inside = face_index >= 0
        corners = np.where(inside[..., None], template.faces[face_index], 0)
        self.register_buffer("corners", torch.from_numpy(corners.reshape(-1, 3)).long())
        self.register_buffer("weights", torch.from_numpy(weights.reshape(-1, 3)).float())
        self.register_buffer("inside", torch.from_numpy(inside))

    def to_uv(self, values: Tensor) -> Tensor:
        """Vertex values [B, V, C] as UV maps [B, C, S, S]; 0 outside the unwrapping."""
        weights = self.weights.to(values.dtype)
        # Corner by corner, without a [B, S², 3, C] array, is several times as fast.
        a, b, c = (
            values.index_select(1, self.corners[:, k]) * weights[:, k, None] for k in range(3)
        )
        mixed = (a + b + c).transpose(1, 2).contiguous()
        return mixed.unflatten(2, (self.size, self.size))

    def grid(self, raster: Raster) -> Floats:
        """Where each pixel lies in the UV map: [H, W, 2], x right and y down in [-1, 1].

        Args:
            raster: cast with the template's `faces`. Pixels without a hit hold -2, off the map.
        """
        hit = raster.hit
        grid = np.full((*hit.shape, 2), -2.0, np.float32)
        of_corners = self.face_uv[raster.face_index[hit]]
        grid[hit] = np.einsum("pkc,pk->pc", of_corners, raster.barycentric[hit])
        return grid

    def sample(self, uv_map: Tensor, raster: Raster) -> Floats:
        """A UV map [C, S, S] bilinearly on the pixels of a raster: [H, W, C], 0 where no hit."""
        grid = torch.from_numpy(self.grid(raster)).to(uv_map)
        found = F.grid_sample(uv_map[None], grid[None], mode="bilinear", align_corners=False)[0]
        return found.permute(1, 2, 0).cpu().numpy() * raster.hit[..., None]


def face_uv(template: HeadTemplate) -> Floats:
    """Corners of the faces in the unwrapping, as `grid_sample` counts: [F, 3, 2] float32.

    x to the right and y down, both in [-1, 1].
    """
    uv = template.uv.astype(np.float32)
    return ((uv * 2 - 1) * np.array([1, -1], np.float32))[template.uv_faces]


def rasterize_uv(template: HeadTemplate, size: int) -> tuple[NDArray[np.int32], Floats]:
    """Which face each UV pixel's centre lies in, and where.

    Where the unwrapping overlaps itself the face that comes first in the template wins.

    Returns:
        Face numbers [S, S], -1 outside; barycentric weights [S, S, 3] float64, 0 outside.
    """
    flat = (face_uv(template).astype(np.float64) + 1) * (size / 2)
    # Each face at a height of its own, the first nearest, so that overlaps have one answer.
    height = -np.repeat(np.arange(len(flat)), 3).reshape(-1, 3, 1) / len(flat)
    soup = np.concatenate([flat, height], -1).reshape(-1, 3).astype(np.float32)
    raster = raycast(soup, np.arange(len(soup), dtype=np.int32).reshape(-1, 3), size, size)
    rows, columns = np.nonzero(raster.hit)
    a, b, c = np.moveaxis(flat[raster.face_index[raster.hit]], 1, 0)
    points = np.stack([columns, rows], 1) + 0.5
    # Again in float64: the ray caster's single precision would show in the detail's normals.
    area = _cross(b - a, c - a)
    second, third = _cross(points - a, c - a) / area, _cross(b - a, points - a) / area
    weights = np.zeros((size, size, 3))
    weights[raster.hit] = np.stack([1 - second - third, second, third], 1)
    return raster.face_index, weights


def _cross(left: Floats, right: Floats) -> Floats:
    """z of the cross product of plane vectors [..., 2]."""
    return left[..., 0] * right[..., 1] - left[..., 1] * right[..., 0]
