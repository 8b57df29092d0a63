"""FLAME's heads made anew from changed codes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sfe_core.faces.changed_head import changed_head, face_centre
from sfe_core.faces.detection import Face
from sfe_core.faces.detectors.turning import reconstruct_faces
from sfe_core.faces.emoca.checkpoint import EmocaNetworks
from sfe_core.faces.emoca.flame_head import load_flame_head
from sfe_core.faces.emoca.reconstruction import EmocaReconstructor
from sfe_core.faces.reconstruction import HeadChange, Reconstruction


@pytest.fixture(scope="module")
def maker(flame_folder: Path, emoca: EmocaNetworks) -> EmocaReconstructor:
    return EmocaReconstructor(emoca, load_flame_head(flame_folder, emoca.settings), "cpu")


@pytest.fixture(scope="module", params=[0.0, 90.0])
def head(maker: EmocaReconstructor, request: pytest.FixtureRequest) -> Reconstruction:
    """Of a photo that stands upright, and of one that lies on its side."""
    coarse = np.random.default_rng(3).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    photo = coarse.repeat(8, 0).repeat(8, 1)
    flame = maker._head.flame
    mean = flame.landmarks_2d(flame.v_template[None], torch.zeros(1, 6))[0].numpy()
    landmarks = mean[:, :2] * [700.0, -700.0] + [205.25, 160.5]
    box = (*landmarks.min(axis=0).tolist(), *landmarks.max(axis=0).tolist())
    face = Face(box, landmarks.astype(np.float32), 1.0, angle=request.param)
    return reconstruct_faces(maker, [photo], [face])[0]


def test_remade_without_a_change_it_is_the_same(
    maker: EmocaReconstructor, head: Reconstruction
) -> None:
    same = maker.remake(head, HeadChange(expression=maker.expression(head.codes)))
    np.testing.assert_allclose(same.points, head.points, atol=1e-6)
    np.testing.assert_allclose(same.landmarks, head.landmarks, atol=1e-3)
    np.testing.assert_allclose(same.angles, head.angles, atol=1e-3)
    camera = {
        "camera_rotation": head.camera.rotation,
        "camera_scale": np.float32(head.camera.scale),
        "camera_translation": head.camera.translation,
    }
    stored = maker.restore(dict(head.codes) | camera, {})
    np.testing.assert_allclose(stored.vertices, head.vertices, atol=1e-3)
    np.testing.assert_allclose(stored.angles, head.angles, atol=1e-3)


def test_a_turned_head_keeps_its_centre(head: Reconstruction) -> None:
    yaw, pitch, roll = head.angles
    turned = changed_head(head, HeadChange(angles=(yaw + 20.0, pitch - 5.0, roll)))
    np.testing.assert_allclose(turned.angles, (yaw + 20.0, pitch - 5.0, roll), atol=1e-3)
    np.testing.assert_allclose(
        face_centre(turned.landmarks), face_centre(head.landmarks), atol=0.02
    )
    np.testing.assert_array_equal(turned.codes["pose"][3:], head.codes["pose"][3:])
    np.testing.assert_array_equal(turned.codes["exp"], head.codes["exp"])


def test_all_at_once_is_each_alone(maker: EmocaReconstructor, head: Reconstruction) -> None:
    yaw, pitch, roll = head.angles
    expression = maker.expression(head.codes) * 0.3
    light = np.array(head.codes["light"])[::-1].copy()
    shape = np.array(head.codes["shape"]) * 0.5
    angles = (yaw - 10.0, pitch, roll)
    whole = changed_head(head, HeadChange(shape, expression, angles, light))
    alone = [
        changed_head(head, change)
        for change in (
            HeadChange(identity=shape),
            HeadChange(expression=expression),
            HeadChange(angles=angles),
            HeadChange(light=light),
        )
    ]
    np.testing.assert_array_equal(whole.codes["shape"], alone[0].codes["shape"])
    np.testing.assert_array_equal(whole.codes["exp"], alone[1].codes["exp"])
    np.testing.assert_array_equal(whole.codes["pose"][3:], alone[1].codes["pose"][3:])
    np.testing.assert_allclose(whole.codes["pose"][:3], alone[2].codes["pose"][:3], atol=1e-6)
    np.testing.assert_array_equal(whole.codes["light"], alone[3].codes["light"])
    assert whole.surface is not None
    np.testing.assert_array_equal(whole.surface.light, light)
    for kept in ("tex", "cam", "detail"):
        np.testing.assert_array_equal(whole.codes[kept], head.codes[kept])


def test_the_detail_is_decoded_for_the_new_expression(
    maker: EmocaReconstructor, head: Reconstruction
) -> None:
    moved = changed_head(head, HeadChange(expression=maker.expression(head.codes) + 1.0))
    assert moved.surface and head.surface
    before, after = (one.surface.arrays()["light"] for one in (head, moved))
    np.testing.assert_array_equal(before, after)
    assert np.abs(moved.surface.displacement - head.surface.displacement).max() > 0
    assert np.abs(moved.points - head.points).max() > 1e-4
