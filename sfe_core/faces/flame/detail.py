"""Fine geometry: a displacement map over FLAME, as normals.

The surface is moved along its coarse normals by the decoded displacement, inside the face mask,
and by a fixed one everywhere that makes up for what the coarse mesh leaves out (Feng et al. 2021,
DECA, eq. 5): V'(u) = V(u) + (D(u) + F(u)) N(u).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from sfe_core.arrays import Floats
from sfe_core.errors import UserError
from sfe_core.faces.flame.files import DECA_PAGE, DISPLACEMENT, FACE_EYE_MASK, locate
from sfe_core.faces.flame.normals import MeshNormals, grid_normals
from sfe_core.faces.flame.uv import HeadTemplate, UvAtlas, load_head_template

# Rows and columns at the border of the UV map that DECA leaves out; EMOCA takes all in.
_DECA_MARGINS = (5, 2)


class DetailGeometry(nn.Module):
    """Displacement maps to normals of the displaced surface.

    Args:
        template: the head's mesh and unwrapping.
        face_mask: [S, S] in [0, 1], where the decoded displacement counts.
        fixed_displacement: [S, S] metres along the coarse normals.
        coarse_outside: outside the mask keep the coarse normals (DECA) instead of those of the
            fixed displacement (EMOCA), and leave the border of the map out.
    """

    face_mask: Tensor
    fixed_displacement: Tensor

    def __init__(
        self,
        template: HeadTemplate,
        face_mask: Floats,
        fixed_displacement: Floats,
        coarse_outside: bool = False,
    ) -> None:
        super().__init__()
        self.atlas = UvAtlas(template, size=fixed_displacement.shape[-1])
        self.coarse_outside = coarse_outside
        self.register_buffer("face_mask", torch.tensor(face_mask, dtype=torch.float32))
        displacement = torch.tensor(fixed_displacement, dtype=torch.float32)
        self.register_buffer("fixed_displacement", displacement)
        self.mesh_normals = MeshNormals(template.faces, len(template.vertices))

    @classmethod
    def load(cls, folder: Path, coarse_outside: bool = False) -> DetailGeometry:
        """From FLAME's folder (see `flame.files`).

        Raises:
            UserError: a file is missing or has another size.
        """
        fixed = load_fixed_displacement(folder)
        mask = load_face_mask(folder, fixed.shape[-1])
        return cls(load_head_template(folder), mask, fixed, coarse_outside)

    def normals(self, vertices: Tensor, displacement: Tensor) -> Tensor:
        """UV map of the displaced surface's normals.

        Args:
            vertices: [B, V, 3] metres, posed.
            displacement: [B, 1, S, S] metres along the coarse normals, as decoded.

        Returns:
            [B, 3, S, S] of length 1, or less where the map is dense or has no surface; x to image
            right, y up, z to the viewer.
        """
        coarse = self.atlas.to_uv(self.mesh_normals(vertices))
        # In this order: neighbours lie so close that the rounding of a sum shows in their normals.
        points = self.atlas.to_uv(vertices) + displacement * self.face_mask * coarse
        margins = _DECA_MARGINS if self.coarse_outside else (0, 0)
        normals = grid_normals(points + self.fixed_displacement * coarse, margins)
        if self.coarse_outside:
            normals = normals * self.face_mask + coarse * (1 - self.face_mask)
        return normals


def load_fixed_displacement(folder_or_npy: Path) -> Floats:
    """`fixed_displacement_256.npy`, or the folder that holds it: [S, S] metres.

    Raises:
        UserError: missing, or not a square of numbers.
    """
    given = Path(folder_or_npy)
    path = given if given.suffix == ".npy" else locate(given, DISPLACEMENT)
    try:
        found = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise UserError(
            path, f"is not an array ({error})", f"download it from {DECA_PAGE}"
        ) from error
    if found.ndim != 2 or found.shape[0] != found.shape[1]:
        raise UserError(
            path, f"has shape {found.shape}, not a square", f"download it from {DECA_PAGE}"
        )
    return found


def load_face_mask(folder_or_png: Path, size: int) -> Floats:
    """The red channel of `uv_face_eye_mask.png` as [size, size] in [0, 1], nearest neighbour.

    Args:
        folder_or_png: the picture itself, or a folder that holds it.
        size: side of the UV map, pixels.

    Raises:
        UserError: missing, or not a picture.
    """
    given = Path(folder_or_png)
    path = given if given.suffix == ".png" else locate(given, FACE_EYE_MASK)
    try:
        red = np.asarray(Image.open(path).convert("RGB"), np.float32)[:, :, 0] / 255
    except OSError as error:
        raise UserError(path, "is not a picture", f"download it from {DECA_PAGE}") from error
    return F.interpolate(torch.tensor(red)[None, None], (size, size))[0, 0].numpy()
