"""FLAME's codes and facial actions, on a FLAME that is made of the head's own movements."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sfe_core.controls.asked_expression import AskedExpression, nearest_emotion
from sfe_core.controls.expression_files import read_expression
from sfe_core.controls.flame_code import FlameExpression, read_flame
from sfe_core.controls.flame_translator import FlameTranslator, load_translator
from sfe_core.errors import UserError
from sfe_core.faces.flame.landmarks import LandmarkEmbedding
from sfe_core.faces.flame.parameters import SHAPE_COUNT, FlameParameters
from sfe_core.faces.head import ACTION_NAMES, HeadModel
from tests.flame_files import head_surface, make_disk, write_landmark_embedding, write_model_pickle

# Component n of this FLAME is half of one of these, as many as its two eyes, brows and mouth need.
COMPONENTS = [
    name for name in ACTION_NAMES if not name.startswith(("jaw", "eyeLook", "cheek", "tongue"))
]


@pytest.fixture(scope="module")
def translator() -> FlameTranslator:
    head = HeadModel.load()
    count = len(head.mean)
    shapedirs = np.zeros((count, 3, SHAPE_COUNT + len(COMPONENTS)), np.float32)
    for place, name in enumerate(COMPONENTS):
        shapedirs[:, :, SHAPE_COUNT + place] = 0.5 * head.action_deltas[ACTION_NAMES.index(name)]
    opened = np.linalg.norm(head.action_deltas[ACTION_NAMES.index("jawOpen")], axis=1)
    weights = np.zeros((count, 5))
    weights[:, 2] = np.clip(opened / opened.max(), 0, 1)
    weights[:, 0] = 1 - weights[:, 2]
    joints = np.zeros((5, count))
    joints[:, np.argsort(np.linalg.norm(head.mean - [0, -0.01, -0.08], axis=1))[:30]] = 1 / 30
    parameters = FlameParameters(
        head.mean, head.faces, shapedirs, np.zeros((count, 3, 36)), joints, weights,
        np.array([-1, 0, 1, 1, 1]),
    )  # fmt: skip
    embedding = LandmarkEmbedding(
        head.landmark_faces[17:], head.landmark_bary[17:],
        np.repeat(head.landmark_faces[None, :17], 79, 0),
        np.repeat(head.landmark_bary[None, :17], 79, 0),
    )  # fmt: skip
    return FlameTranslator(parameters, embedding, len(COMPONENTS))


@pytest.mark.parametrize("emotion", ["happy", "sad", "surprise", "fear", "disgust", "anger"])
def test_an_emotion_comes_back_from_flame(translator: FlameTranslator, emotion: str) -> None:
    asked = AskedExpression(emotion, 0.7)
    again = translator.blendshapes(translator.flame(asked))
    word, strength = nearest_emotion(again.unit_intensities())
    lost = 0.25 if emotion == "happy" else 0.06  # no landmark sees a smile's raised cheeks
    assert word == emotion and strength == pytest.approx(0.7, abs=lost)
    head = HeadModel.load()
    moved = [
        head.landmarks(None, face.actions())[0] - head.landmarks()[0] for face in (asked, again)
    ]
    off = np.linalg.norm(moved[1] - moved[0], axis=1).max()
    assert off < 0.15 * np.linalg.norm(moved[0], axis=1).max()


def test_a_component_is_the_action_that_it_is_made_of(translator: FlameTranslator) -> None:
    for name in ("mouthSmileLeft", "browInnerUp", "mouthPucker", "eyeBlinkRight"):
        code = [0.0] * len(COMPONENTS)
        code[COMPONENTS.index(name)] = 1.6
        shown = dict(translator.blendshapes(FlameExpression(tuple(code))).blendshapes)
        assert shown.pop(name) == pytest.approx(0.8, abs=0.1)
        assert max(shown.values()) < 0.15


def test_the_jaw_opens_more_the_more_it_is_asked_to(translator: FlameTranslator) -> None:
    turned = [
        translator.flame(AskedExpression(units=(("AU26", (x, x)),))).jaw[0] for x in (0.0, 2.0, 4.0)
    ]
    assert turned[0] == pytest.approx(0, abs=1e-4) and np.diff(turned).min() > 0.02
    shown = [
        dict(translator.blendshapes(FlameExpression((0.0,), (x, 0.0, 0.0))).blendshapes)["jawOpen"]
        for x in (0.0, 0.1, 0.2)
    ]
    assert shown[0] == pytest.approx(0, abs=1e-4) and np.diff(shown).min() > 0.1


def test_rest_is_rest_and_left_stays_left(translator: FlameTranslator) -> None:
    rest = translator.flame(AskedExpression("neutral"))
    assert np.abs([*rest.expression, *rest.jaw]).max() < 1e-6
    assert translator.blendshapes(rest).actions().max() < 1e-3
    smirk = AskedExpression(units=(("AU12", (4.0, 0.0)),))
    left, right = translator.blendshapes(translator.flame(smirk)).unit_intensities()["AU12"]
    assert left == pytest.approx(4.0, abs=0.8) and right < 0.4


def test_files_of_flame_are_found(tmp_path: Path) -> None:
    folder, disk = tmp_path, make_disk()
    vertices = head_surface(disk)
    write_model_pickle(folder / "generic_model.pkl", disk, vertices, np.random.default_rng(0))
    write_landmark_embedding(folder / "landmark_embedding.npy", disk, vertices)
    found = load_translator(folder, 3)
    np.save(tmp_path / "code.npy", np.full(50, 0.5))
    assert read_expression(tmp_path / "code.npy", folder).blendshapes
    assert found.blendshapes(FlameExpression((1.0, 0.0))).actions().max() >= 0
    for code in (FlameExpression((0.0,) * 4), None):
        with pytest.raises(UserError, match="has 4 numbers" if code else "has 101 numbers"):
            found.blendshapes(code or FlameExpression((0.0,) * 101))


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (((),), "has 0 numbers"),
        (((99.0,),), "expression: 99; give -8 to 8"),
        (((float("nan"),),), "expression: nan"),
        (((0.0,), (2.0, 0.0, 0.0)), "jaw: 2; give -1.57 to 1.57"),
    ],
)
def test_no_code_of_a_face_is_refused(code, said: str) -> None:
    with pytest.raises(UserError, match=said):
        FlameExpression(*code)


def test_codes_are_read_under_the_names_that_others_give_them(tmp_path: Path) -> None:
    exp, jaw = np.linspace(-1, 1, 50), np.array([0.2, 0.0, 0.01])
    expected = FlameExpression(tuple(exp.tolist()), (0.2, 0.0, 0.01))
    path = tmp_path / "code.npz"
    for named in (
        {"exp": exp[None], "pose": np.concatenate([[1.0, 2.0, 3.0], jaw])[None]},
        {"expression_params": exp, "jaw_params": jaw, "eyelid_params": jaw[:2]},
        {"expression": exp, "jaw": jaw, "pose": jaw},
    ):
        np.savez(path, **named)
        assert read_flame(path) == expected
    np.savez(path, exp=exp)
    assert read_flame(path) == FlameExpression(expected.expression)
    smirk = tmp_path / "code.npy"
    np.save(smirk, np.concatenate([exp, [0.3, 0.4], jaw]))
    assert read_flame(smirk) == expected
    np.save(smirk, np.concatenate([exp, jaw]))
    assert read_flame(smirk) == expected


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"shape": np.zeros(100)}, "has no exp or expression"),
        ({"exp": np.zeros((2, 50))}, r"array \(2, 50\); give the codes of one face"),
        ({"exp": np.zeros(50), "jaw": np.zeros(2)}, "jaw of 2 numbers"),
        ({"exp": np.full(50, np.nan)}, "expression: nan"),
        ({"exp": np.float64(1.0)}, "give the codes of one face"),
        (np.zeros(7), "holds 7 numbers; FLAME's codes have 50, 53"),
        (np.array({"exp": 1}, dtype=object), "cannot be read"),
        (b"no array", "cannot be read"),
    ],
)
def test_files_that_hold_no_code_are_refused(tmp_path: Path, arrays, said: str) -> None:
    path = tmp_path / ("code.npz" if isinstance(arrays, dict) else "code.npy")
    if isinstance(arrays, dict):
        np.savez(path, **arrays)
    elif isinstance(arrays, bytes):
        path.write_bytes(arrays)
    else:
        np.save(path, arrays, allow_pickle=True)
    with pytest.raises(UserError, match=said) as caught:
        read_flame(path)
    assert "\n" not in str(caught.value)
