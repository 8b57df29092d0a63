"""Rendered faces: repeatable, framed as asked, exact landmarks, found by a real detector."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from sfe_core.emotions import EMOTIONS
from sfe_core.faces.head import ACTION_NAMES
from sfe_core.synthesis.render import FACE_HEIGHT_M, face_actions, face_camera, render_face
from sfe_core.synthesis.spec import HAIR_STYLES, sample_face, sample_person


@pytest.fixture(scope="module")
def faces():
    return [
        render_face(sample_face(500 + k, EMOTIONS[k % 8], (k * 97) % 4096), 256) for k in range(32)
    ]


def test_same_spec_same_pixels_and_other_seed_other_pixels() -> None:
    first, again = (render_face(sample_face(3, "fear", 8), 64).image for _ in range(2))
    other = render_face(sample_face(4, "fear", 8), 64).image
    assert first.dtype == np.uint8 and first.shape == (64, 64, 3)
    assert (first == again).all() and (first != other).any()


def test_identity_looks_the_same_person_whatever_the_photograph() -> None:
    specs = [sample_face(seed, "happy", 77) for seed in range(4)]
    assert len({spec.person for spec in specs}) == 1
    assert len({spec.scene for spec in specs}) == 4


def test_identity_wraps_round_the_table() -> None:
    assert sample_face(0, "sad", 4096 + 5).person == sample_face(0, "sad", 5).person


def test_pose_and_framing_stay_in_their_ranges() -> None:
    scenes = [sample_face(seed).scene for seed in range(300)]
    assert max(abs(s.yaw) for s in scenes) <= 25 and max(abs(s.pitch) for s in scenes) <= 15
    assert max(abs(s.roll) for s in scenes) <= 8
    assert np.std([s.yaw for s in scenes]) > 6
    for scene in scenes[:20]:
        assert face_camera(scene, 100).scale * FACE_HEIGHT_M == pytest.approx(
            100 * scene.face_share
        )


def test_natural_draw_prefers_common_emotions() -> None:
    drawn = [sample_face(seed).emotion for seed in range(300)]
    assert drawn.count("happy") > 90 > drawn.count("contempt")


def test_hair_styles_differ_between_the_sexes_and_all_render() -> None:
    people = [sample_person(k) for k in range(400)]
    long_haired = [p.male for p in people if p.hair_style == "long"]
    assert np.mean(long_haired) < 0.25
    spec = sample_face(1, "neutral", 2)
    pictures = {
        style: render_face(
            dataclasses.replace(spec, person=dataclasses.replace(spec.person, hair_style=style)), 48
        ).image.tobytes()
        for style in HAIR_STYLES
    }
    assert len(set(pictures.values())) == len(HAIR_STYLES)


def test_size_scales_landmarks_and_leaves_depth_alone() -> None:
    spec = sample_face(9, "surprise", 30)
    small, large = render_face(spec, 64), render_face(spec, 192)
    assert np.allclose(large.landmarks, small.landmarks * 3, atol=1e-2)
    assert abs(np.percentile(small.depth, 99.9) - np.percentile(large.depth, 99.9)) < 0.03
    assert 0.5 < large.depth.max() <= 1.0


def test_rest_of_the_lids_is_the_persons_and_the_rest_the_expressions() -> None:
    spec = sample_face(2, "anger", 6)
    change = face_actions(spec) - np.asarray(spec.expression.actions)
    moved = {ACTION_NAMES[k] for k in np.flatnonzero(change)}
    assert moved == {"eyeWideLeft", "eyeWideRight"}


def test_mouth_is_dark_and_toothed_where_the_jaw_is_open() -> None:
    face = render_face(sample_face(5, "surprise", 12), 256)
    marks = face.landmarks.round().astype(int)
    mouth = face.image[marks[60:68, 1].min() : marks[60:68, 1].max()]
    mouth = mouth[:, marks[60:68, 0].min() : marks[60:68, 0].max()].astype(int).sum(-1)
    assert mouth.min() < 0.5 * face.image.astype(int).sum(-1)[face.raster().hit].mean()


@pytest.mark.slow
def test_detector_finds_the_faces_and_agrees_on_the_landmarks(faces) -> None:
    dlib = pytest.importorskip("dlib")
    from sfe_core.faces.detectors.dlib_detector import predictor_path

    detector, predictor = (
        dlib.get_frontal_face_detector(),
        dlib.shape_predictor(str(predictor_path())),
    )
    errors = []
    for face in faces:
        boxes = detector(face.image, 1)
        assert len(boxes) == 1, (face.spec.person.identity, face.spec.scene.yaw)
        shape = predictor(face.image, boxes[0])
        marks = np.array([[part.x + 0.5, part.y + 0.5] for part in shape.parts()])
        eyes = np.linalg.norm(face.landmarks[36] - face.landmarks[45])
        errors.append(np.linalg.norm(marks - face.landmarks, axis=1) / eyes)
    mean = np.mean(errors, axis=0)
    assert mean[36:48].mean() < 0.04  # eyes
    assert mean[48:].mean() < 0.05  # mouth
    assert mean.mean() < 0.06
