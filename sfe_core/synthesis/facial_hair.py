"""Brows, beard and stubble: where they grow and their paint.

Everything is a function of the mean head's coordinates and of the person, as in `hair`, whose noise
and tone these share. `strands` adds the single hairs.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from sfe_core.arrays import Floats
from sfe_core.faces.head import HeadModel
from sfe_core.synthesis.hair import hair_noise, hair_tone, stubble_noise
from sfe_core.synthesis.spec import Person
from sfe_core.synthesis.surface import Surface, blend, bump, ramp

LANDMARKS_LEFT_BROW = (22, 23, 24, 25, 26)


@lru_cache(maxsize=1)
def brow_curve() -> tuple[Floats, Floats]:
    """|x| and y, metres, of the brow's centre line on the mean head, from inner to outer end.

    iBUG's brow points lie on the upper edge, hence the shift.
    """
    points = HeadModel.load().landmark_basis()[0][list(LANDMARKS_LEFT_BROW)]
    return points[:, 0], points[:, 1] - 0.0026


def brow_place(where: Floats) -> tuple[Floats, Floats]:
    """Place along the brow, [P] in [0, 1] from the inner end, and metres above its centre, [P]."""
    across = np.abs(where[:, 0])
    xs, ys = brow_curve()
    along = np.clip((across - xs[0]) / (xs[-1] - xs[0]), 0.0, 1.0)
    return along, where[:, 1] - np.interp(across, xs, ys)


def brow_cover(where: Floats, person: Person) -> Floats:
    """How much brow hair covers each point, [P] in [0, 1]."""
    across = np.abs(where[:, 0])
    xs, _ = brow_curve()
    along, above = brow_place(where)
    half = person.brow_thickness_m * (1.0 - 0.55 * along) * (0.85 + 0.3 * ramp(along, 0.0, 0.3))
    ends = ramp(across, xs[0] - 0.004, xs[0] + 0.004) * ramp(across, xs[-1] + 0.001, xs[-1] - 0.006)
    # Hairs stand up at the inner end and lie along the brow at the outer one.
    lean = 1.25 * (1.0 - along) ** 1.5 - 0.1
    place = np.cos(lean) * above - np.sin(lean) * across + np.where(where[:, 0] < 0, 0.17, 0.0)
    strand, _ = hair_noise(place, across, person)
    cover = ramp((np.abs(above) + 0.0005 * strand) / half, 1.3, 0.45)
    return cover * ends * np.clip(0.86 + 0.14 * strand, 0.5, 1.0) * (where[:, 2] > -0.02)


def paint_brows(surface: Surface, person: Person, colour: Floats, on_head: np.ndarray) -> None:
    """Brows, painted in place."""
    x, y = np.abs(surface.where[:, 0]), surface.where[:, 1]
    near = np.flatnonzero(on_head & (x < 0.07) & (y > 0.0) & (y < 0.05))
    part = colour[near]
    blend(part, person.brow, brow_cover(surface.where[near], person) * 0.92)
    colour[near] = part


def beard_extent(where: Floats, person: Person) -> Floats:
    """How densely the beard grows, [P] in [0, 1], for every face point but the lips."""
    x, y, z = np.abs(where[:, 0]), where[:, 1], where[:, 2]
    strand, lock = hair_noise(where[:, 0], -y, person)
    edge = 0.002 * lock + 0.001 * strand
    jaw = ramp(y + 0.25 * np.maximum(0.0, 0.03 - x) + edge, -0.050, -0.070)
    jaw = jaw + ramp(x + edge, 0.048, 0.066) * ramp(y, 0.01, -0.04)
    jaw = jaw + bump(y + 0.0575, 0.0045) * ramp(x, 0.032, 0.018)
    return np.clip(jaw, 0, 1) * ramp(y, -0.145, -0.12) * ramp(z, -0.08, -0.055)


def paint_beard(surface: Surface, person: Person, colour: Floats, on_head: np.ndarray) -> None:
    """Beard or stubble, painted in place."""
    if not person.beard:
        return
    near = np.flatnonzero(on_head & (surface.where[:, 1] < 0.012))
    where, lips = surface.where[near], surface.masks[near, 0]
    extent = beard_extent(where, person) * (1.0 - np.clip(lips * 1.5, 0, 1))
    strand, _ = hair_noise(where[:, 0] * 1.2, -where[:, 1], person)
    dots = stubble_noise(where)
    if person.beard < 1.0:
        share = extent * np.clip(0.26 + 0.14 * dots, 0.04, 0.75)
        target = 0.55 * hair_tone(person) + 0.1 * np.asarray(person.skin, np.float32)
    else:
        share = np.clip(extent * (0.78 + 0.08 * strand + 0.1 * dots), 0.0, 0.95)
        target = 0.85 * hair_tone(person)
    part = colour[near]
    blend(part, target, share)
    colour[near] = part
