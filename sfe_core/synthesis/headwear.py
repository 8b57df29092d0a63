"""Beanies and caps, cut from the skull that wears them."""

from __future__ import annotations

import numpy as np

from sfe_core.arrays import Floats
from sfe_core.faces.head import REGION, HeadModel
from sfe_core.faces.rendering import vertex_normals
from sfe_core.synthesis.pieces import Piece, Wearer
from sfe_core.synthesis.scene import Colour
from sfe_core.synthesis.surface import ramp


def hat(wearer: Wearer) -> list[Piece]:
    """A beanie or a cap: the skull's own shape, blown up, cut along a brim."""
    head = HeadModel.load()
    worn = wearer.spec.scene.worn
    cap = worn.hat == "cap"
    brow = wearer.marks[[19, 24]].mean(0)
    slope = 0.34 if cap else 0.46
    level = float(brow[1] + (0.036 if cap else 0.030) - slope * brow[2])
    shell = np.isin(head.face_region, [REGION[n] for n in ("skin", "scalp")])
    corners = head.mean[head.faces].mean(1)
    shell &= corners[:, 1] > slope * corners[:, 2] + level - 0.035
    faces = head.faces[shell]
    normals = vertex_normals(wearer.vertices, head.faces)
    rise = ramp(head.mean[:, 1], 0.05, 0.13)
    thick = 0.009 + (0.010 if cap else 0.014) * rise
    used, again = np.unique(faces, return_inverse=True)
    vertices = (wearer.vertices + normals * thick[:, None])[used]
    joined = np.asarray(again, np.int32).reshape(faces.shape)
    above = (slope, level)
    dome = Piece(vertices, joined, worn.hat_colour, gloss=0.03, knit_m=0.0 if cap else 0.0042,
                 above=above)  # fmt: skip
    return [dome, _visor(vertices, above, worn.hat_colour)] if cap else [dome]


def _visor(dome: Floats, above: tuple[float, float], colour: Colour) -> Piece:
    """The peak [N, 3] of a cap: a plate curved down at its sides, from the dome's front edge."""
    slope, level = above
    edge = dome[np.abs(dome[:, 1] - slope * dome[:, 2] - level) < 0.02]
    half, front = 0.93 * np.abs(edge[:, 0]).max(), edge[:, 2].max()
    turn = np.linspace(-1.25, 1.25, 25)
    x = half * np.sin(turn)
    back = front - 0.085
    z = back + (front - back) * np.cos(turn)
    base = np.stack([x, slope * z + level + 0.001, z], 1)
    reach = np.cos(turn / 1.25 * np.pi / 2) ** 0.6
    rows = []
    for share in np.linspace(0, 1, 5):
        out = base.copy()
        out[:, 2] += share * 0.062 * reach
        out[:, 1] += share * reach * 0.002 - 0.010 * share**2 - 2.2 * share * x**2
        rows.append(out)
    count = len(turn)
    i, k = np.meshgrid(np.arange(len(rows) - 1), np.arange(count - 1), indexing="ij")
    a = i * count + k
    faces = np.stack([np.stack([a, a + 1, a + count], -1),
                      np.stack([a + 1, a + count + 1, a + count], -1)]).reshape(-1, 3)  # fmt: skip
    darker = (colour[0] * 0.9, colour[1] * 0.9, colour[2] * 0.9)
    return Piece(np.concatenate(rows), faces.astype(np.int32), darker, gloss=0.03)
