"""Brows and beards of synthetic people: they grow where they should and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sfe_core.arrays import Floats
from sfe_core.faces.head import REGION
from sfe_core.synthesis.facial_hair import beard_extent, brow_cover, brow_curve, paint_beard
from sfe_core.synthesis.spec import sample_person
from sfe_core.synthesis.surface import Surface

# Metres on the mean head: chin, upper lip, jaw before the ear; forehead, nose, throat.
BEARDED = np.array([[0, -0.085, 0.02], [0.012, -0.0575, 0.03], [0.07, -0.04, -0.03]], np.float32)
SMOOTH = np.array([[0, 0.06, 0.02], [0, -0.02, 0.05], [0, -0.16, -0.02]], np.float32)


def test_brows_cover_their_own_curve_and_nothing_else() -> None:
    person = sample_person(3)
    xs, ys = brow_curve()
    middle = slice(1, -1)
    on = np.stack([xs[middle], ys[middle], np.zeros(len(xs) - 2)], -1).astype(np.float32)
    assert brow_cover(on, person).min() > 0.45
    for shift in (-0.012, 0.012):
        assert brow_cover(on + np.array([0, shift, 0], np.float32), person).max() < 0.01


def painted(where: Floats, beard: float, lips: float = 0.0) -> Floats:
    """Colours [P, 3] of skin of 150 at points of the mean head, after the beard."""
    count = len(where)
    masks = np.full((count, 3), [lips, 0.0, 1.0], np.float32)
    surface = Surface(where, masks, np.full(count, REGION["skin"]), np.zeros_like(where))
    person = replace(sample_person(3), beard=beard, hair=(20.0, 20.0, 20.0))
    colour = np.full((count, 3), 150.0, np.float32)
    paint_beard(surface, person, colour, np.ones(count, bool))
    return colour


def test_a_beard_grows_on_chin_lip_and_jaw_alone() -> None:
    person = sample_person(3)
    assert beard_extent(BEARDED, person).min() > 0.3
    assert beard_extent(SMOOTH, person).max() < 0.01


def test_a_beard_hides_more_skin_than_stubble_and_never_the_lips() -> None:
    shaved, stubble, beard = (painted(BEARDED, share).mean() for share in (0.0, 0.5, 1.0))
    assert shaved == 150.0 > stubble - 2.0 > beard + 20.0
    assert (painted(BEARDED, 1.0, lips=1.0) == 150.0).all()
