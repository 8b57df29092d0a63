"""Heads with a changed shape, pose, expression and light: what moves, and what must not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sfe_core.arrays import Floats
from sfe_core.errors import UserError
from sfe_core.faces.anny.anny_reconstruction import AnnyReconstructor
from sfe_core.faces.anny.fitting import rotation_angles
from sfe_core.faces.changed_head import changed_head, face_centre
from sfe_core.faces.head import ACTION_NAMES, HeadModel
from sfe_core.faces.reconstruction import HeadChange, Reconstruction
from sfe_core.synthesis.render import render_face
from sfe_core.synthesis.spec import sample_face

SIZE = 96


@pytest.fixture(scope="module")
def head() -> Reconstruction:
    """Fitted to a synthetic photo, whose landmarks are known."""
    face = render_face(sample_face(11, "neutral", 5), SIZE)
    box = np.array([[*face.landmarks.min(axis=0), *face.landmarks.max(axis=0)]])
    return AnnyReconstructor().reconstruct([face.image], face.landmarks[None], box)[0]


def open_jaw(head: Reconstruction) -> Floats:
    actions = np.array(head.codes["actions"])
    actions[ACTION_NAMES.index("jawOpen")] = 0.8
    return actions


def light_from(side: float) -> Floats:
    light = np.zeros((9, 3))
    light[0], light[1] = 3.3, side
    return light


def test_nothing_changes_where_nothing_is_asked(head: Reconstruction) -> None:
    same = changed_head(head, HeadChange())
    assert same is head
    remade = AnnyReconstructor().remake(head, HeadChange(expression=head.codes["actions"]))
    np.testing.assert_allclose(remade.points, head.points, atol=1e-7)
    np.testing.assert_allclose(remade.landmarks, head.landmarks, atol=1e-3)


@pytest.mark.parametrize("yaw", [-20.0, 20.0])
def test_a_turned_head_turns_so_far_about_the_centre_of_the_face(
    head: Reconstruction, yaw: float
) -> None:
    before = head.angles
    asked = (before[0] + yaw, before[1] - 5.0, before[2] + 3.0)
    turned = changed_head(head, HeadChange(angles=asked))
    assert turned.angles == asked
    found = rotation_angles(turned.camera.rotation[None])[0]
    np.testing.assert_allclose(found, asked, atol=1e-3)
    shown = turned.camera.project(HeadModel.load().landmarks(**turned.codes)[0])[:, :2]
    np.testing.assert_allclose(shown, turned.landmarks, atol=1e-2)
    np.testing.assert_allclose(face_centre(shown), face_centre(head.landmarks), atol=0.02)
    nose = shown[30, 0] - face_centre(shown)[0]
    assert np.sign(nose - (head.landmarks[30, 0] - face_centre(head.landmarks)[0])) == np.sign(yaw)


def test_an_expression_moves_the_face_and_not_the_skull(head: Reconstruction) -> None:
    moved = changed_head(head, HeadChange(expression=open_jaw(head)))
    assert moved.camera is head.camera and moved.angles == head.angles
    assert moved.landmarks[8, 1] > head.landmarks[8, 1] + 1  # the chin
    np.testing.assert_allclose(moved.landmarks[27], head.landmarks[27], atol=0.05)


def test_another_shape_is_laid_on_the_landmarks(head: Reconstruction) -> None:
    wide = np.array(head.codes["identity"])
    wide[0] += 2.0
    shaped = changed_head(head, HeadChange(identity=wide))
    np.testing.assert_array_equal(shaped.codes["identity"], wide)
    plain = AnnyReconstructor().remake(head, HeadChange(identity=wide))
    off, before = (
        np.linalg.norm(one.landmarks - head.landmarks, axis=1).mean() for one in (shaped, plain)
    )
    assert off < before
    apart = shaped.landmarks - shaped.landmarks.mean(axis=0)
    rest = head.landmarks - shaped.landmarks
    assert abs((apart * rest).sum()) < 1e-2 * (apart**2).sum()  # least squares' normal equation
    np.testing.assert_allclose(rest.mean(axis=0), 0, atol=1e-3)


def test_all_at_once_is_each_alone(head: Reconstruction) -> None:
    angles = (head.angles[0] + 20.0, head.angles[1], head.angles[2])
    parts = [
        HeadChange(expression=open_jaw(head)),
        HeadChange(angles=angles),
        HeadChange(light=light_from(0.5)),
    ]
    whole = changed_head(head, HeadChange(None, open_jaw(head), angles, light_from(0.5)))
    face, pose, lit = (changed_head(head, part) for part in parts)
    np.testing.assert_array_equal(whole.codes["actions"], face.codes["actions"])
    np.testing.assert_array_equal(whole.codes["identity"], head.codes["identity"])
    np.testing.assert_array_equal(whole.camera.rotation, pose.camera.rotation)
    np.testing.assert_array_equal(whole.camera.translation, pose.camera.translation)
    assert whole.surface and lit.surface and head.surface
    np.testing.assert_array_equal(whole.surface.light, lit.surface.light)
    np.testing.assert_array_equal(whole.points, face.points)
    # Colours, and the light where none is asked for, are those of the photo.
    for one in (whole, face, pose, lit):
        assert one.surface is not None
        np.testing.assert_array_equal(
            one.surface.arrays()["colours"], head.surface.arrays()["colours"]
        )
    assert face.surface is not None
    np.testing.assert_array_equal(face.surface.light, head.surface.light)


def test_a_stored_head_is_the_same_head(head: Reconstruction) -> None:
    camera = {
        "camera_rotation": head.camera.rotation,
        "camera_scale": np.float32(head.camera.scale),
        "camera_translation": head.camera.translation,
    }
    assert head.surface is not None
    restored = AnnyReconstructor().restore(dict(head.codes) | camera, head.surface.arrays())
    np.testing.assert_array_equal(restored.points, head.points)
    np.testing.assert_array_equal(restored.vertices, head.vertices)
    np.testing.assert_allclose(restored.angles, head.angles, atol=1e-4)
    assert restored.surface is not None
    np.testing.assert_array_equal(restored.surface.light, head.surface.light)


def test_a_head_that_nobody_can_change_is_refused(head: Reconstruction) -> None:
    with pytest.raises(UserError, match="cannot change the heads"):
        changed_head(replace(head, maker=None), HeadChange(angles=(0.0, 0.0, 0.0)))
