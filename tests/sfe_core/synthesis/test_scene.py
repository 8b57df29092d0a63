"""Scenes: what a draw holds to, narrow and wide."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from sfe_core.synthesis.captions import caption
from sfe_core.synthesis.scene import WIDE_BACKGROUNDS, WIDE_LIGHTS
from sfe_core.synthesis.spec import sample_face, sample_person

SEEDS = range(600)


@pytest.fixture(scope="module")
def wide_scenes():
    return [sample_face(seed, "neutral", 3, wide=True).scene for seed in SEEDS]


def test_wide_draw_differs_from_the_narrow_one_in_the_scene_alone() -> None:
    for seed in range(20):
        narrow, wide = (sample_face(seed, wide=choice) for choice in (False, True))
        assert narrow.scene != wide.scene
        assert replace(wide, scene=narrow.scene) == narrow


def test_wide_poses_and_framing_fill_their_ranges(wide_scenes) -> None:
    for limit, values in (
        (45, [s.yaw for s in wide_scenes]),
        (25, [s.pitch for s in wide_scenes]),
        (20, [s.roll for s in wide_scenes]),
    ):
        assert 0.8 * limit < max(np.abs(values)) <= limit
    shares = [s.face_share for s in wide_scenes]
    assert 0.35 <= min(shares) < 0.4 and 0.95 < max(shares) <= 1.0
    for scene in wide_scenes:
        assert scene.centre[1] + 0.6 * scene.face_share <= 1.0  # the chin stays in the picture


def test_odd_lights_and_backgrounds_come_in_wide_draws_only(wide_scenes) -> None:
    wide = Counter(s.light_name for s in wide_scenes) + Counter(s.background for s in wide_scenes)
    assert all(wide[name] > 20 for name in (*WIDE_LIGHTS, *WIDE_BACKGROUNDS))
    narrow = [sample_face(seed).scene for seed in SEEDS]
    seen = {s.light_name for s in narrow} | {s.background for s in narrow}
    assert not seen & {*WIDE_LIGHTS, *WIDE_BACKGROUNDS}
    assert not any(s.worn.sunglasses for s in narrow)
    assert 3 <= sum(s.worn.sunglasses for s in wide_scenes) <= 30


def test_shares_of_things_worn() -> None:
    worn = [sample_face(seed, "neutral", 3).scene.worn for seed in range(1500)]
    assert np.mean([w.hat != "none" for w in worn]) == pytest.approx(0.05, abs=0.02)
    assert np.mean([w.scarf for w in worn]) == pytest.approx(0.04, abs=0.02)
    assert np.mean([w.hand != 0 for w in worn]) == pytest.approx(0.03, abs=0.015)
    people = [sample_person(number) for number in range(1500)]
    assert np.mean([p.glasses != "none" for p in people]) == pytest.approx(0.18, abs=0.04)
    assert not any(p.male and p.earrings != "none" for p in people)
    assert np.mean([p.earrings != "none" for p in people if not p.male]) > 0.2


def test_every_wide_scene_has_words(wide_scenes) -> None:
    spec = sample_face(1)
    for scene in wide_scenes[:100]:
        assert caption(replace(spec, scene=scene), False, np.random.default_rng(0))
