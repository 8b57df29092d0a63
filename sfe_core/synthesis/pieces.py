"""Meshes of things worn or held: what a piece is, the head it is fitted to, tubes to make it of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sfe_core.arrays import Floats
from sfe_core.faces.head import REGION, HeadModel
from sfe_core.synthesis.scene import Colour
from sfe_core.synthesis.spec import FaceSpec


@dataclass(frozen=True)
class Piece:
    """One object's mesh and matter."""

    vertices: Floats  # [A, 3] metres, head frame
    faces: NDArray[np.int32]  # [B, 3]
    colour: Colour
    gloss: float = 0.1
    knit_m: float = 0.0  # width of a rib of its fabric, 0 smooth
    tint: float = 1.0  # share of what lies behind that it hides: 1 but for lenses
    above: tuple[float, float] | None = None  # (a, b): only y > a·z + b is kept, for a brim


@dataclass(frozen=True)
class Wearer:
    """The head that pieces are fitted to."""

    vertices: Floats  # [V, 3] bare, with its expression
    marks: Floats  # [68, 3] landmarks of the neutral face
    spec: FaceSpec

    def part(self, name: str, right: bool | None = None) -> Floats:
        """Vertices [N, 3] of a region, of one side where `right` is given (image right)."""
        head = HeadModel.load()
        chosen = head.region == REGION[name]
        if right is not None:
            chosen &= (head.mean[:, 0] > 0) == right
        return self.vertices[chosen]


def tube(
    path: Floats, radius: Floats | float, closed: bool = False, sides: int = 8
) -> tuple[Floats, NDArray[np.int32]]:
    """A round tube along a path [N, 3]: vertices [N * sides, 3] and faces.

    Args:
        path: its middle line, metres.
        radius: metres, one for each point or one for all.
        closed: joins the last point to the first.
        sides: of the cross-section.
    """
    count = len(path)
    ahead = np.roll(path, -1, 0) - np.roll(path, 1, 0)
    if not closed:
        ahead[0], ahead[-1] = path[1] - path[0], path[-1] - path[-2]
    ahead /= np.maximum(np.linalg.norm(ahead, axis=1, keepdims=True), 1e-9)
    # Any direction across will do, if no part of the path runs along it.
    least = np.eye(3)[np.abs(ahead).max(0).argmin()]
    first = np.cross(ahead, least)
    first /= np.maximum(np.linalg.norm(first, axis=1, keepdims=True), 1e-9)
    second = np.cross(ahead, first)
    turn = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    ring = first[:, None] * np.cos(turn)[:, None] + second[:, None] * np.sin(turn)[:, None]
    vertices = path[:, None] + ring * np.broadcast_to(radius, (count,))[:, None, None]
    i, k = np.meshgrid(np.arange(count if closed else count - 1), np.arange(sides), indexing="ij")
    j, m = (i + 1) % count, (k + 1) % sides
    a, b, c, d = (x * sides + y for x, y in ((i, k), (j, k), (j, m), (i, m)))
    faces = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)]).reshape(-1, 3)
    return vertices.reshape(-1, 3), faces.astype(np.int32)


def capsule(path: Floats, radius: Floats) -> tuple[Floats, NDArray[np.int32]]:
    """A tube with round ends through points [N, 3] of radii [N], metres: vertices and faces."""
    steps = np.linspace(0, len(path) - 1, 4 * len(path))
    at = np.arange(len(path))
    line = np.stack([np.interp(steps, at, path[:, c]) for c in range(3)], 1)
    thick = np.interp(steps, at, radius)
    start, end = line[0] - line[1], line[-1] - line[-2]
    start, end = (v / np.linalg.norm(v) for v in (start, end))
    caps = np.array([0.4, 0.75, 0.95, 1.0])
    heads = [line[0] + start * thick[0] * h for h in caps[::-1]]
    tails = [line[-1] + end * thick[-1] * h for h in caps]
    round_off = np.sqrt(np.maximum(1.0 - caps**2, 1e-4))
    line = np.concatenate([heads, line, tails])
    return tube(line, np.concatenate([thick[0] * round_off[::-1], thick, thick[-1] * round_off]),
                 sides=10)  # fmt: skip
