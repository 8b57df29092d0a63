"""Noise is measured for what it is; the surround is kept without an edge."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
from PIL import Image

from sfe_core.sampling.editing.noise import most_noise, noise_level
from sfe_core.sampling.editing.surround import keep_surround, surround_share


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    picture = Image.fromarray(skimage.data.astronaut()[40:200, 145:305])
    return np.asarray(picture.resize((64, 64), Image.Resampling.LANCZOS))


@pytest.mark.parametrize("sigma", [4.0, 12.0, 30.0])
def test_the_level_is_the_noise_that_was_added(sigma: float) -> None:
    random = np.random.default_rng(0)
    ramp = np.linspace(90, 160, 96)[:, None, None] + np.zeros((96, 96, 3))
    grey = random.normal(0, sigma, (96, 96, 1)).repeat(3, axis=2)
    noisy = (ramp + grey).clip(0, 255).round().astype(np.uint8)
    assert noise_level(noisy) == pytest.approx(sigma, rel=0.1)


def test_a_portrait_is_not_noisy_and_grain_on_it_is(portrait: np.ndarray) -> None:
    limit = most_noise(portrait)
    assert noise_level(portrait) <= limit
    grain = np.random.default_rng(1).normal(0, 40, portrait.shape)
    assert noise_level((portrait + grain).clip(0, 255).astype(np.uint8)) > limit
    assert most_noise(np.full((64, 64, 3), 90, np.uint8)) == 6.0


def test_the_surround_is_kept_and_the_head_is_the_edits() -> None:
    before, after = np.zeros((64, 64), bool), np.zeros((64, 64), bool)
    before[20:44, 20:40] = after[20:44, 24:46] = True
    share = surround_share(before, after)
    assert (share[before | after] == 0).all() and (share[:4] > 0.99).all()
    assert np.abs(np.diff(share, axis=1)).max() < 0.6, "no hard edge"
    edited, source = np.full((64, 64, 3), 200, np.uint8), np.full((64, 64, 3), 50, np.uint8)
    kept = keep_surround(edited, source, share)
    assert (kept[before | after] == 200).all() and (kept[:4] <= 52).all()
    between = kept[(share > 0.2) & (share < 0.8)]
    assert len(between) and ((between > 50) & (between < 200)).all()
