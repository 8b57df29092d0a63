"""Scenes with a changed head: its buffers in the crop that it was in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sfe_core.controls.asked_light import named_light
from sfe_core.corpus.artefacts.edited_scene import changed_scene, upright_angles
from sfe_core.corpus.artefacts.face_scene import FaceScene
from sfe_core.faces.anny.anny_reconstruction import AnnyReconstructor
from sfe_core.faces.changed_head import face_centre
from sfe_core.faces.crop import CropTransform, crop_around
from sfe_core.faces.detection import Face
from sfe_core.faces.detectors.turning import Turn, reconstruct_faces
from sfe_core.faces.reconstruction import HeadChange
from sfe_core.synthesis.render import render_face
from sfe_core.synthesis.spec import sample_face

SIZE = 96


def scene_of(angle: float = 0.0) -> FaceScene:
    """A synthetic face, whose photo may lie on its side."""
    drawn = render_face(sample_face(11, "neutral", 5), 128)
    photo, landmarks = drawn.image, drawn.landmarks
    if angle:
        back = Turn(-angle, 128, 128)  # what is upright stands at the angle there
        photo, landmarks = back.picture(photo), back.to_canvas(landmarks)
    box = (*landmarks.min(axis=0).tolist(), *landmarks.max(axis=0).tolist())
    face = Face(box, landmarks.astype(np.float32), 1.0, angle=angle)
    (head,) = reconstruct_faces(AnnyReconstructor(), [photo], [face])
    square = crop_around(drawn.landmarks, 1.5)
    if angle:
        centre = Turn(-angle, 128, 128).to_canvas(np.array([square.center_x, square.center_y]))
        square = CropTransform(float(centre[0]), float(centre[1]), square.side, angle)
    return FaceScene(photo, face.landmarks, square, SIZE, head, detailed=False)


@pytest.fixture(scope="module", params=[0.0, 90.0])
def scene(request: pytest.FixtureRequest) -> FaceScene:
    return scene_of(request.param)


def cheeks(scene: FaceScene, picture: np.ndarray) -> tuple[float, float]:
    """Mean of a picture below the eyes, left and right in it."""
    x, y = scene.points[:, 0], scene.points[:, 1]
    rows = slice(int(y[29]), int(y[33]))
    middle = int(x[30])
    hit = scene.raster.hit[rows]
    grey = picture[rows].mean(axis=2)
    left, right = hit[:, : middle - 8], hit[:, middle + 8 :]
    return float(grey[:, : middle - 8][left].mean()), float(grey[:, middle + 8 :][right].mean())


def test_light_from_the_left_makes_the_left_cheek_brighter(scene: FaceScene) -> None:
    assert scene.head.surface is not None and scene.head.surface.light is not None
    for side, sign in (("left", 1), ("right", -1)):
        light = named_light(side, scene.head.surface.light)
        lit = changed_scene(scene, HeadChange(light=light))
        left, right = cheeks(lit, lit.lambertian)
        assert sign * (left - right) > 15, (side, left, right)
        np.testing.assert_array_equal(lit.albedo, scene.albedo)
        np.testing.assert_array_equal(lit.normals, scene.normals)


def test_a_pose_by_numbers_turns_the_head_in_the_crop(scene: FaceScene) -> None:
    yaw, pitch, roll = upright_angles(scene)
    turned = changed_scene(scene, HeadChange(angles=(yaw + 20.0, pitch, roll)))
    np.testing.assert_allclose(upright_angles(turned), (yaw + 20.0, pitch, roll), atol=1e-3)
    moved = face_centre(turned.points) - face_centre(
        scene.transform.to_crop(scene.head.landmarks, SIZE)
    )
    assert np.abs(moved).max() < 0.5
    # The forehead looks where the nose points.
    between = [(one.points[27] - (0, 4)).astype(int) for one in (scene, turned)]
    brow = [
        one.raster.normals[y, x, 0] for one, (x, y) in zip((scene, turned), between, strict=True)
    ]
    assert brow[1] - brow[0] > 0.15
    assert turned.crop is not scene.crop and (turned.crop == scene.crop).all()


def test_the_crop_of_a_turned_photo_shows_the_same_head() -> None:
    upright, lying = scene_of(0.0), scene_of(90.0)
    np.testing.assert_allclose(upright_angles(lying), upright_angles(upright), atol=0.5)
    change = HeadChange(angles=(25.0, -5.0, 3.0))
    one, other = changed_scene(upright, change), changed_scene(lying, change)
    off = np.abs(one.normals.astype(int) - other.normals).mean()
    assert off < 2, off


def test_a_given_render_and_a_depth_of_before_are_let_go(scene: FaceScene) -> None:
    given = replace(scene, given_mesh=np.zeros_like(scene.photo))
    assert changed_scene(given, HeadChange(angles=(0.0, 0.0, 0.0))).given_mesh is None
