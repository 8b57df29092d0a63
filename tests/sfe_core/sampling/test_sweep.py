from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sfe_core.controls.asked_expression import AskedExpression
from sfe_core.controls.expression_files import AskedRow
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError
from sfe_core.sampling.generate import compose_grid
from sfe_core.sampling.sweep import Request, plan_shots

TEMPLATE = "{emotion}, face"


def shots(**asked):
    return plan_shots(Request(**asked), 42, TEMPLATE)


def test_a_plain_prompt_is_one_picture_drawn_as_typed():
    (shot,) = shots(prompt=" blurry  portrait ")
    assert (shot.prompt, shot.seed, shot.expression) == ("blurry portrait", 42, None)
    assert not Request(prompt="portrait").guided


def test_the_emotion_stands_in_front_once():
    assert shots(prompt="portrait", emotion="sad")[0].prompt == "sad, portrait"
    assert shots(prompt="Happy, portrait", emotion="sad")[0].prompt == "sad, portrait"
    assert shots(prompt="angerly drawn", emotion="sad")[0].prompt == "sad, angerly drawn"
    assert shots(emotion="sad")[0].prompt == "sad, face"
    assert shots(prompt="happy", emotion="sad")[0].prompt == "sad"


def test_emotions_differ_in_word_and_expression_alone():
    drawn = shots(prompt="happy, portrait", sweep="emotion", seed=7)
    assert [shot.label for shot in drawn] == list(EMOTIONS)
    assert [shot.prompt for shot in drawn] == [f"{name}, portrait" for name in EMOTIONS]
    assert {shot.seed for shot in drawn} == {7}
    assert [shot.expression for shot in drawn] == [AskedExpression(name) for name in EMOTIONS]


def test_intensities_run_from_nothing_to_all():
    drawn = shots(emotion="fear", sweep="intensity", count=3)
    assert [shot.expression.intensity for shot in drawn] == [0.0, 0.5, 1.0]
    assert len({(shot.prompt, shot.seed) for shot in drawn}) == 1
    assert len(shots(emotion="fear", sweep="intensity")) == 5
    assert len(shots(emotion="fear", sweep="intensity", count=1)) == 1


def test_seeds_follow_each_other():
    assert [shot.seed for shot in shots(prompt="x", sweep="seed", seed=5)] == list(range(5, 13))
    assert [shot.seed for shot in shots(prompt="x", count=2)] == [42, 43]


def test_valence_and_arousal_choose_word_and_strength():
    (shot,) = shots(prompt="portrait", valence=0.85, arousal=0.35)
    assert shot.prompt == "happy, portrait"
    assert shot.expression == AskedExpression("happy", 1.0)
    assert Request(valence=0.5).guided


SMIRK = AskedExpression(units=(("AU12", (3.0, 0.0)),))


def test_units_guide_a_face_and_leave_the_text_alone():
    (shot,) = shots(prompt="portrait", asked=SMIRK)
    assert (shot.prompt, shot.expression) == ("portrait", SMIRK)
    assert Request(prompt="portrait", asked=SMIRK).guided
    mixed = AskedExpression(mixture=(("happy", 0.3), ("surprise", 0.6)))
    assert shots(prompt="portrait", asked=mixed)[0].prompt == "surprise, portrait"


def test_a_table_is_a_picture_per_line():
    rows = (
        AskedRow("t.csv:2", "a", "old man", 7, AskedExpression("sad", 0.5)),
        AskedRow("t.csv:3", expression=SMIRK),
    )
    drawn = shots(prompt="portrait", rows=rows, seed=1)
    assert [(shot.label, shot.prompt, shot.seed) for shot in drawn] == [
        ("a", "sad, old man", 7),
        ("line 2", "portrait", 1),
    ]
    assert [shot.expression for shot in drawn] == [row.expression for row in rows]
    with pytest.raises(UserError, match="t.csv:3: has neither prompt nor emotion"):
        Request(rows=rows)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "PROMPT: is empty"),
        ({"prompt": "  "}, "PROMPT: is empty"),
        ({"emotion": "joy"}, "--emotion"),
        ({"prompt": "x", "valence": 2.0}, "--valence"),
        ({"prompt": "x", "sweep": "age"}, "--sweep"),
        ({"prompt": "x", "sweep": "emotion", "emotion": "sad"}, "draws every emotion"),
        ({"prompt": "x", "sweep": "emotion", "count": 3}, "--count"),
        ({"prompt": "x", "sweep": "intensity"}, "needs an emotion"),
        ({"sweep": "intensity", "emotion": "neutral"}, "needs an emotion"),
        ({"prompt": "x", "like": Path("a.jpg"), "head": True}, "--head"),
        ({"prompt": "x", "count": 0}, "--count"),
        ({"asked": SMIRK}, "PROMPT: is empty"),
        ({"prompt": "x", "asked": SMIRK, "emotion": "sad"}, "together with emotion"),
        ({"prompt": "x", "asked": SMIRK, "sweep": "intensity"}, "needs an emotion"),
        ({"rows": (AskedRow("t.csv:2"),), "emotion": "sad"}, "--table.*expression"),
        ({"prompt": "x", "rows": (AskedRow("t.csv:2"),), "count": 2}, "--table.*--count"),
    ],
)
def test_contradictions_are_refused(asked, said):
    with pytest.raises(UserError, match=said):
        Request(**asked)


@pytest.mark.parametrize(("count", "columns", "rows"), [(2, 2, 1), (5, 5, 1), (8, 4, 2), (9, 4, 3)])
def test_a_grid_holds_every_picture_unchanged(count: int, columns: int, rows: int):
    random = np.random.default_rng(0)
    pictures = [random.integers(1, 255, (128, 128, 3)).astype(np.uint8) for _ in range(count)]
    tiles = [(f"n {place}", Image.fromarray(one)) for place, one in enumerate(pictures)]
    sheet = np.asarray(compose_grid(tiles, "كلمة, 顔, portrait"))
    assert sheet.shape[1] // 128 == columns and sheet.shape[0] // 128 == rows
    windows = np.lib.stride_tricks.sliding_window_view(sheet[..., 0], (1, 128))[:, :, 0]
    for picture in pictures:
        assert (windows == picture[0, :, 0]).all(axis=2).sum() == 1
