"""Backgrounds: every kind, repeatable, at any size, in the scene's light."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sfe_core.synthesis.background import PAINTERS, background, shade_wall
from sfe_core.synthesis.scene import BACKGROUNDS, WIDE_BACKGROUNDS
from sfe_core.synthesis.spec import sample_face


@pytest.mark.parametrize("kind", [*BACKGROUNDS, *WIDE_BACKGROUNDS])
def test_each_kind_repeats_varies_and_keeps_its_look_at_other_sizes(kind: str) -> None:
    scene = replace(sample_face(2).scene, background=kind)
    seen = []
    for seed in range(12):
        scene = replace(scene, background_seed=seed)
        picture = background(scene, 96)
        assert picture.shape == (96, 96, 3) and np.isfinite(picture).all()
        assert (picture == background(scene, 96)).all()
        twice = background(scene, 192).reshape(96, 2, 96, 2, 3).mean((1, 3))
        assert np.abs(twice - picture).mean() < 4
        seen.append(picture.mean((0, 1)))
    assert np.std(seen, axis=0).max() > 3


def test_every_kind_has_a_painter() -> None:
    assert set(PAINTERS) == {*BACKGROUNDS, *WIDE_BACKGROUNDS}


def test_coloured_light_colours_the_background() -> None:
    scene = replace(sample_face(2).scene, background="plain", background_seed=5)
    white, red = (
        background(replace(scene, light_colour=colour), 32).mean((0, 1))
        for colour in ((1.0, 1.0, 1.0), (1.3, 0.8, 0.8))
    )
    assert red[0] > white[0] and red[2] < white[2]


def test_shadow_falls_on_a_plain_wall_away_from_the_light() -> None:
    scene = replace(sample_face(2).scene, background="plain", wall_shadow=0.4)
    scene = replace(scene, light=(0.7, 0.3, 0.65))
    wall, cover = np.full((96, 96, 3), 200.0, np.float32), np.zeros((96, 96), np.float32)
    cover[30:70, 35:65] = 1.0
    dark = shade_wall(wall, cover, scene)[..., 0]
    assert dark.min() > 0.58 * 200 and dark[50, :35].min() < 160 < dark[50, 70:].min()
    assert (shade_wall(wall, cover, replace(scene, background="outdoor")) == wall).all()
