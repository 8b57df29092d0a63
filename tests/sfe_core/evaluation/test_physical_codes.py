"""Fitted heads in numbers: what their codes do to a face."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sfe_core.evaluation.physical_codes import (
    ball_normals,
    ball_shading,
    codes_of,
    landmark_distance,
)
from sfe_core.faces.anny.anny_reconstruction import AnnyReconstructor
from sfe_core.faces.changed_head import changed_head
from sfe_core.faces.head import ACTION_NAMES, REGIONS, HeadModel
from sfe_core.faces.reconstruction import HeadChange, Reconstruction


@pytest.fixture(scope="module")
def head() -> Reconstruction:
    """Turned, smiling, of some shape, under an even light."""
    model = HeadModel.load()
    identity = np.linspace(-1.0, 1.0, model.identity_count).astype(np.float32)
    actions = np.zeros(len(ACTION_NAMES), np.float32)
    actions[ACTION_NAMES.index("mouthSmileLeft")] = 0.8
    camera = {
        "camera_rotation": np.eye(3, dtype=np.float32),
        "camera_scale": np.float32(900.0),
        "camera_translation": np.array([64.0, 60.0], np.float32),
    }
    light = np.zeros((9, 3))
    light[0] = 3.0
    surface = {"light": light, "colours": np.full((len(REGIONS), 3), 0.5)}
    codes = {"identity": identity, "actions": actions} | camera
    plain = AnnyReconstructor().restore(codes, surface)
    return changed_head(plain, HeadChange(angles=(15.0, -10.0, 5.0)))


def test_an_expression_is_what_it_does_to_the_mean_head_seen_from_the_front(head):
    model = HeadModel.load()
    codes = codes_of(head)
    moved = model.landmarks(actions=head.codes["actions"][None]) - model.landmarks()
    asked = 1000.0 * moved[0, :, :2] * (1.0, -1.0)
    np.testing.assert_allclose(codes["expression"].reshape(68, 2), asked, atol=0.02)
    assert codes["pose"] == pytest.approx([15.0, -10.0, 5.0], abs=1e-3)


def test_each_part_moves_only_with_its_own_code(head):
    before = codes_of(head)
    light = np.zeros((9, 3))
    light[0], light[1] = 3.0, 1.0
    for part, change in {
        "expression": HeadChange(expression=np.zeros(len(ACTION_NAMES), np.float32)),
        "shape": HeadChange(identity=np.zeros_like(head.codes["identity"])),
        "pose": HeadChange(angles=(-20.0, 0.0, 0.0)),
        "light": HeadChange(light=light),
    }.items():
        after = codes_of(changed_head(head, change))
        for other in before:
            far = float(np.abs(after[other] - before[other]).max())
            assert far > 0.1 if other == part else far < 0.02, (part, other, far)


def test_light_is_told_whatever_its_brightness_and_tint(head):
    light = np.random.default_rng(0).normal(size=(9, 3)) * 0.2
    light[0] = 3.0
    np.testing.assert_allclose(ball_shading(light * 7.0), ball_shading(light))
    assert ball_shading(light).mean() == pytest.approx(1.0)
    side = np.zeros((9, 3))
    side[0], side[1] = 3.0, 1.0  # from the right
    assert np.corrcoef(ball_shading(side), ball_normals()[:, 0])[0, 1] == pytest.approx(1.0)
    assert np.isnan(codes_of(replace(head, surface=None))["light"]).all()


def test_distances_are_of_landmarks():
    moved = np.zeros((2, 136))
    moved[1, ::2], moved[1, 1::2] = 3.0, 4.0
    assert landmark_distance(moved).tolist() == [0.0, 5.0]
