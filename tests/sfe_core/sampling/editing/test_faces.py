"""Edits in numbers: each part of one does what it says, alone and among the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sfe_core.config.corpus_sections import PreprocessConfig
from sfe_core.controls.asked_expression import AskedExpression
from sfe_core.controls.expression_change import ExpressionChange
from sfe_core.corpus.artefacts.edited_scene import upright_angles
from sfe_core.corpus.artefacts.face_scene import FaceScene
from sfe_core.corpus.preprocessing.single_photo import PhotoScenes
from sfe_core.faces.changed_head import face_centre
from sfe_core.faces.head import ACTION_NAMES
from sfe_core.sampling.asked_face import at_rest, with_expression
from sfe_core.sampling.editing.faces import codes_record, edited_scene, light_of
from sfe_core.sampling.editing.request import Edit
from sfe_core.sampling.editing.terms import ExpressionTerms
from tests.sfe_core.sampling.editing.rigged import write_photo

TERMS = ExpressionTerms("flame-2020")
GAZE = [place for place, name in enumerate(ACTION_NAMES) if name.startswith("eyeLook")]
SMILE = ACTION_NAMES.index("mouthSmileLeft")
JAW = ACTION_NAMES.index("jawOpen")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("photos")
    source = write_photo(folder / "source.png", 11, "neutral", 5)
    return source, write_photo(folder / "target.png", 33, "surprise", 77)


@pytest.fixture(scope="module")
def scenes(photos: tuple[Path, Path]) -> tuple[FaceScene, FaceScene]:
    found = PhotoScenes(PreprocessConfig(crop_size=64))
    return found.scene(photos[0]), found.scene(photos[1])


def actions(scene: FaceScene) -> np.ndarray:
    return np.asarray(scene.head.codes["actions"], np.float64)


def test_yaw_by_numbers_turns_the_fitted_head_by_as_much(
    scenes: tuple[FaceScene, FaceScene],
) -> None:
    source, _ = scenes
    turned = edited_scene(source, Edit(yaw=20.0), {}, TERMS)
    np.testing.assert_allclose(turned.head.angles[0] - source.head.angles[0], 20.0, atol=1e-3)
    np.testing.assert_allclose(turned.head.angles[1:], source.head.angles[1:], atol=1e-3)
    before = face_centre(source.transform.to_crop(source.head.landmarks, source.size))
    assert np.linalg.norm(face_centre(turned.points) - before) < 0.5
    np.testing.assert_array_equal(actions(turned), actions(source))


def test_frontal_and_pose_of_are_where_turns_begin(
    scenes: tuple[FaceScene, FaceScene], photos: tuple[Path, Path]
) -> None:
    source, target = scenes
    front = edited_scene(source, Edit(frontal=True, yaw=15.0), {}, TERMS)
    np.testing.assert_allclose(upright_angles(front), (15.0, 0.0, 0.0), atol=1e-3)
    pose = Edit(pose_of=photos[1], pitch=-5.0)
    taken = edited_scene(source, pose, {"pose": target}, TERMS)
    yaw, pitch, roll = upright_angles(target)
    np.testing.assert_allclose(upright_angles(taken), (yaw, pitch - 5.0, roll), atol=1e-3)


def test_all_from_one_photo_is_each_alone(
    scenes: tuple[FaceScene, FaceScene], photos: tuple[Path, Path]
) -> None:
    source, target = scenes
    of = photos[1]
    whole = edited_scene(
        source,
        Edit(expression_of=of, pose_of=of, light_of=of),
        {"expression": target, "pose": target, "light": target},
        TERMS,
    )
    face = edited_scene(source, Edit(expression_of=of), {"expression": target}, TERMS)
    pose = edited_scene(source, Edit(pose_of=of), {"pose": target}, TERMS)
    light = edited_scene(source, Edit(light_of=of), {"light": target}, TERMS)
    together, alone = codes_record(whole.head), [codes_record(s.head) for s in (face, pose, light)]
    own = codes_record(source.head)
    assert together["expression"] == alone[0]["expression"] != own["expression"]
    assert together["angles"] == alone[1]["angles"] != own["angles"]
    assert together["light"] == alone[2]["light"] != own["light"]
    assert together["shape"] == own["shape"]
    assert alone[0]["light"] == alone[1]["light"] == own["light"]
    # And they are the target's, but for where the eyes look.
    rest = [place for place in range(52) if place not in GAZE]
    np.testing.assert_allclose(actions(whole)[rest], actions(target)[rest], atol=1e-6)
    np.testing.assert_allclose(actions(whole)[GAZE], actions(source)[GAZE], atol=1e-6)
    np.testing.assert_allclose(upright_angles(whole), upright_angles(target), atol=1e-3)
    np.testing.assert_allclose(light_of(whole), light_of(target), atol=1e-6)


def test_words_and_units_are_shown_as_generate_shows_them(
    scenes: tuple[FaceScene, FaceScene],
) -> None:
    source, _ = scenes
    for asked in (AskedExpression("happy", 0.7), AskedExpression(units=(("AU4", (3.0, 3.0)),))):
        ours = edited_scene(source, Edit(asked=asked), {}, TERMS)
        np.testing.assert_allclose(
            actions(ours), actions(with_expression(source, asked)), atol=1e-6
        )


def test_units_go_over_the_expression_of_a_photo(
    scenes: tuple[FaceScene, FaceScene], photos: tuple[Path, Path]
) -> None:
    source, target = scenes
    smile = AskedExpression(units=(("AU12", (5.0, 5.0)),))
    plain, smiling = (
        edited_scene(source, edit, {"expression": target}, TERMS)
        for edit in (Edit(expression_of=photos[1]), Edit(asked=smile, expression_of=photos[1]))
    )
    assert actions(smiling)[SMILE] > actions(plain)[SMILE] + 0.3
    assert actions(smiling)[JAW] > 0.2, "the rest is the photo's"


def test_a_change_and_the_jaw_leave_the_rest(scenes: tuple[FaceScene, FaceScene]) -> None:
    source, _ = scenes
    change = ExpressionChange((("AU12", (3.0, 3.0)),))
    moved = actions(edited_scene(source, Edit(change=change), {}, TERMS)) - actions(source)
    assert moved[SMILE] > 0.2
    still = [place for place, name in enumerate(ACTION_NAMES) if name.startswith("brow")]
    np.testing.assert_allclose(moved[still], 0, atol=1e-6)
    jaw = actions(edited_scene(source, Edit(jaw=0.6), {}, TERMS))
    assert jaw[JAW] == pytest.approx(0.6)
    others = [place for place in range(52) if place != JAW]
    np.testing.assert_array_equal(jaw[others], actions(source)[others])


def test_strength_goes_part_of_the_way(
    scenes: tuple[FaceScene, FaceScene], photos: tuple[Path, Path]
) -> None:
    source, target = scenes
    of, at = photos[1], dict.fromkeys(("expression", "pose", "light", "shape"), target)
    records = [
        codes_record(
            edited_scene(
                source,
                Edit(expression_of=of, pose_of=of, light_of=of, shape_of=of, strength=strength),
                at,
                TERMS,
            ).head
        )
        for strength in (0.0, 0.5, 1.0)
    ]
    own = codes_record(source.head)
    for name in own:
        none, half, whole = (np.asarray(record[name]) for record in records)
        np.testing.assert_allclose(none, own[name], atol=1e-4)
        np.testing.assert_allclose(half, (none + whole) / 2, atol=1e-4)
        assert np.abs(whole - none).max() > 0.01


def test_named_lights_and_files_light_the_head(
    scenes: tuple[FaceScene, FaceScene], tmp_path: Path
) -> None:
    source, _ = scenes
    left = edited_scene(source, Edit(light="left"), {}, TERMS)
    np.save(tmp_path / "left.npy", light_of(left))
    stored = edited_scene(source, Edit(light=str(tmp_path / "left.npy")), {}, TERMS)
    np.testing.assert_allclose(light_of(stored), light_of(left), atol=1e-5)
    assert light_of(left)[1].max() < 0 < light_of(left)[0].min()


def test_neutral_closes_the_mouth_of_a_surprised_face(
    scenes: tuple[FaceScene, FaceScene],
) -> None:
    _, surprised = scenes
    neutral = edited_scene(surprised, Edit(asked=AskedExpression("neutral")), {}, TERMS)
    rest = at_rest()
    rest[GAZE] = actions(surprised)[GAZE]
    np.testing.assert_allclose(actions(neutral), rest, atol=1e-6)
