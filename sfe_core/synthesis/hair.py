"""Hair of the head, brows and beard: where it grows, how thick, and how it is painted."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from sfe_core.arrays import Floats
from sfe_core.faces.head import REGION, HeadModel
from sfe_core.faces.rendering import vertex_normals
from sfe_core.synthesis.spec import FaceSpec, Person
from sfe_core.synthesis.surface import Surface, blend, bump, ramp

LANDMARKS_LEFT_BROW = (22, 23, 24, 25, 26)
# Hair thickness on the scalp by style, metres.
THICKNESS = {"bald": 0.0, "buzz": 0.002, "short": 0.010, "medium": 0.019, "fringe": 0.014,
             "curly": 0.03, "bob": 0.012, "long": 0.011}  # fmt: skip
# Where the hair shells of the longer styles end, metres below the eyes.
SHELL_END = {"bob": -0.10, "long": -0.27}


def hair_score(where: Floats, person: Person) -> Floats:
    """Metres above the hairline, [P]: positive where scalp hair grows."""
    y, z = where[..., 1], where[..., 2]
    drop = -0.026 if person.hair_style == "fringe" else 0.0
    front = ramp(z, -0.06, 0.0) * (person.hairline_m + drop)
    line = 0.073 + 0.85 * z - 2.5 * np.maximum(0.0, -0.09 - z) + front
    phase = person.texture_seed % 7
    wave = 0.0012 * np.sin(where[..., 0] * 130.0 + phase) + 0.0007 * np.sin(where[..., 0] * 470.0)
    return y - line + wave


def grow_hair(vertices: Floats, spec: FaceSpec) -> Floats:
    """Vertices [V, 3] with the scalp pushed out by the hair's thickness."""
    thickness = THICKNESS[spec.person.hair_style]
    if not thickness:
        return vertices
    head = HeadModel.load()
    if spec.person.hair_style in SHELL_END:
        # Cutting the shells straight: what hangs lower is pulled up to the end.
        end = SHELL_END[spec.person.hair_style] + 0.008 * np.sin(head.mean[:, 0] * 170.0)
        low = (head.region == REGION["hair"]) & (vertices[:, 1] < end)
        vertices = vertices.copy()
        vertices[low, 1] = end[low]
        vertices[low, 0] = np.clip(vertices[low, 0], -0.092, 0.092)
        vertices[low, 2] = np.clip(vertices[low, 2], -0.14, -0.03)
    scalp = np.isin(head.region, [REGION[n] for n in ("skin", "scalp", "neck")])
    share = ramp(hair_score(head.mean, spec.person), 0.0, 0.03) * scalp
    share *= 0.35 + 0.65 * ramp(head.mean[:, 1], -0.06, 0.06)
    normals = vertex_normals(vertices, head.faces)
    return vertices + normals * (thickness * share)[:, None]


@lru_cache(maxsize=1)
def brow_curve() -> tuple[Floats, Floats]:
    """|x| and y, metres, of the brow's centre line on the mean head, from inner to outer end.

    iBUG's brow points lie on the upper edge, hence the shift.
    """
    points = HeadModel.load().landmark_basis()[0][list(LANDMARKS_LEFT_BROW)]
    return points[:, 0], points[:, 1] - 0.0026


def brow_cover(where: Floats, thickness_m: float) -> Floats:
    """How much brow hair covers each point, [P] in [0, 1]."""
    across = np.abs(where[:, 0])
    xs, ys = brow_curve()
    along = np.clip((across - xs[0]) / (xs[-1] - xs[0]), 0.0, 1.0)
    half = thickness_m * (1.0 - 0.55 * along) * (0.85 + 0.3 * ramp(along, 0.0, 0.3))
    above = np.abs(where[:, 1] - np.interp(across, xs, ys))
    ends = ramp(across, xs[0] - 0.003, xs[0] + 0.001) * ramp(across, xs[-1], xs[-1] - 0.005)
    strands = 0.88 + 0.12 * np.sin(across * 2600.0 + where[:, 1] * 900.0)
    return ramp(above, half * 1.25, half * 0.6) * ends * strands * (where[:, 2] > -0.02)


def paint_beard(surface: Surface, person: Person, colour: Floats, on_head: np.ndarray) -> None:
    """Beard or stubble, painted in place."""
    if not person.beard:
        return
    where = surface.where
    x, y, z = np.abs(where[:, 0]), where[:, 1], where[:, 2]
    jaw = ramp(y + 0.25 * np.maximum(0.0, 0.03 - x), -0.052, -0.066)
    jaw = jaw + ramp(x, 0.05, 0.064) * ramp(y, 0.0, -0.04)
    jaw = jaw + bump(y + 0.0575, 0.004) * ramp(x, 0.03, 0.02)
    extent = np.clip(jaw, 0, 1) * ramp(y, -0.14, -0.125) * ramp(z, -0.075, -0.06) * on_head
    extent *= 1.0 - np.clip(surface.masks[:, 0] * 1.5, 0, 1)
    grain = 0.85 + 0.15 * np.sin(where[:, 0] * 2100) * np.sin(y * 1900)
    blend(colour, np.asarray(person.hair) * 0.9, extent * grain * 0.85 * person.beard)


def paint_brows(surface: Surface, person: Person, colour: Floats, on_head: np.ndarray) -> None:
    """Brows, painted in place."""
    cover = brow_cover(surface.where, person.brow_thickness_m)
    blend(colour, person.brow, cover * on_head * 0.93)


def paint_hair(
    surface: Surface, person: Person, colour: Floats, gloss: Floats, on_head: np.ndarray
) -> None:
    """Scalp hair and hair shells with strands, painted in place."""
    if person.hair_style == "bald":
        return
    where = surface.where
    shell = surface.region == REGION["hair"]
    grown = ramp(hair_score(where, person), -0.001, 0.005) * (on_head | shell)
    cover = np.where(shell, 1.0, grown * (0.72 if person.hair_style == "buzz" else 1.0))
    angle = np.arctan2(where[:, 0], where[:, 2] + 0.07)
    phase = person.texture_seed % 50
    if person.hair_style == "curly":
        strands = np.sin(angle * 34 + 5 * np.sin(where[:, 1] * 240 + phase))
        strands *= np.sin(where[:, 1] * 330 + 4 * np.sin(angle * 22))
    else:
        bend = angle + 0.25 * np.sin(where[:, 1] * 40 + phase) + 0.1 * np.sin(angle * 7 + phase)
        strands = 0.5 * np.sin(bend * 23) + 0.3 * np.sin(bend * 61 + phase)
        strands += 0.3 * np.sin(bend * 149 + where[:, 1] * 35)
    lit = 0.85 + 0.17 * strands
    blend(colour, np.zeros(3), 0.25 * cover * (cover < 0.99))
    colour += (np.asarray(person.hair) * lit[:, None] - colour) * cover[:, None]
    gloss += 0.12 * cover
