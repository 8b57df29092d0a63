"""Normals of meshes and of surfaces given as UV maps, in torch, as DECA and EMOCA sum them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from sfe_core.arrays import Integers

# Summed cross products (m²) below this length are not stretched to unit length. The published
# weights were trained so: where the UV map is dense the detail's normals are shorter than 1.
_NORMAL_EPSILON_M2 = 1e-6
# Corners of a face in the order in which the public implementations add them up.
_CORNER_ORDER = (1, 2, 0)


class MeshNormals(nn.Module):
    """Vertex normals of one topology: the area-weighted mean of the faces round each vertex.

    The sums run in a fixed order, so that a GPU too gives the same bits every time.

    Args:
        faces: [F, 3] vertex numbers, counter-clockwise seen from outside.
        vertices: V, how many there are.
    """

    faces: Tensor
    around: Tensor

    def __init__(self, faces: NDArray[np.integer[Any]], vertices: int) -> None:
        super().__init__()
        self.register_buffer("faces", torch.tensor(faces, dtype=torch.long))
        self.register_buffer("around", torch.from_numpy(_corners_round(faces, vertices)))

    def forward(self, vertices: Tensor) -> Tensor:
        """Normals [B, V, 3] of vertices [B, V, 3] in metres."""
        corners = [vertices.index_select(1, self.faces[:, k]) for k in range(3)]
        # From each corner's own edges: one cross product would do, but rounds otherwise.
        across = [
            torch.linalg.cross(corners[(k + 1) % 3] - corners[k], corners[(k + 2) % 3] - corners[k])
            for k in _CORNER_ORDER
        ]
        # The last row stands for "no further face" in `around`.
        rows = torch.cat([*across, torch.zeros_like(vertices[:, :1])], 1)
        sums = torch.zeros_like(vertices)
        for place in self.around:
            sums = sums + rows.index_select(1, place)
        return F.normalize(sums, dim=-1, eps=_NORMAL_EPSILON_M2)


def _corners_round(faces: NDArray[np.integer[Any]], vertices: int) -> Integers:
    """[K, V] rows of the corners that meet in each vertex, in order; 3 F where there are fewer."""
    owners = np.concatenate([faces[:, k] for k in _CORNER_ORDER]).astype(np.int64)
    order = np.argsort(owners, kind="stable")
    counts = np.bincount(owners, minlength=vertices)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    table = np.full((int(counts.max()), vertices), len(owners), np.int64)
    table[np.arange(len(owners)) - starts[owners[order]], owners[order]] = order
    return table


def grid_normals(points: Tensor, margins: tuple[int, int] = (0, 0)) -> Tensor:
    """Normals of a surface given as a UV map of its points.

    Each square of four neighbours is two triangles, cut from upper right to lower left; a
    point's normal is the area-weighted mean over its triangles.

    Args:
        points: [B, 3, S, S] metres.
        margins: rows and columns at the border where nothing is spanned.

    Returns:
        [B, 3, S, S]; 0 in the margins.
    """
    # Vectors last: cross products and lengths are several times as fast so.
    points = points.permute(0, 2, 3, 1).contiguous()
    sums = torch.zeros_like(points)
    rows = slice(margins[0], points.shape[1] - margins[0])
    columns = slice(margins[1], points.shape[2] - margins[1])
    inner, inner_sums = points[:, rows, columns], sums[:, rows, columns]
    here, next_one = slice(None, -1), slice(1, None)
    a, b, c, d = (here, here), (here, next_one), (next_one, here), (next_one, next_one)
    # From each corner's own edges, as in `MeshNormals`; the squares are small enough for the
    # rounding of one shared cross product to show.
    for triangle in ((a, c, b), (b, c, d)):
        corners = [inner[:, row, column] for row, column in triangle]
        for k, (row, column) in enumerate(triangle):
            after, before = corners[(k + 1) % 3] - corners[k], corners[(k + 2) % 3] - corners[k]
            inner_sums[:, row, column] += torch.linalg.cross(after, before)
    return F.normalize(sums, dim=-1, eps=_NORMAL_EPSILON_M2).permute(0, 3, 1, 2)
