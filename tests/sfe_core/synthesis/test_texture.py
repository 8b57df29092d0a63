"""Noise on skin: seeded, periodic, standardised, another tile for another person."""

from __future__ import annotations

import numpy as np

from sfe_core.synthesis.texture import TILE_M, TILE_PX, cloudy, dotted, look_up, unroll


def test_clouds_are_standardised_periodic_and_coarser_when_asked() -> None:
    coarse, fine = cloudy(0.011), cloudy(0.002, 2)
    for texture in (coarse, fine):
        assert texture.shape == (TILE_PX, TILE_PX)
        assert abs(texture.mean()) < 0.2 and abs(texture.std() - 1) < 1e-3
        inside = np.abs(np.diff(texture, axis=0)).mean()
        assert np.abs(texture[0] - texture[-1]).mean() < 3 * inside  # no seam
    assert np.abs(np.diff(fine, axis=1)).mean() > 2 * np.abs(np.diff(coarse, axis=1)).mean()
    assert (cloudy(0.011, seed=1) != coarse).any()


def test_dots_are_as_many_and_as_wide_as_asked() -> None:
    few, many = dotted(8, (0.001, 0.001)), dotted(80, (0.001, 0.001))
    assert few.min() >= 0 and few.max() <= 1
    one = 2 * np.pi * np.log(2) * (0.001 * TILE_PX / TILE_M) ** 2  # texels above half its height
    assert 4 * one < (few > 0.5).sum() <= 9 * one
    assert (many > 0.5).sum() > 5 * (few > 0.5).sum()


def test_another_persons_skin_is_another_piece_of_the_tile() -> None:
    where = np.random.default_rng(0).uniform(-0.08, 0.08, (500, 3))
    texels = unroll(where)
    first, again, other = (look_up(cloudy(0.011), texels, seed) for seed in (1, 1, 2))
    assert first.shape == (500,) and (first == again).all() and (first != other).mean() > 0.9
