from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sfe_core.controls.asked_expression import AskedExpression
from sfe_core.controls.expression_files import AskedRow
from sfe_core.controls.expression_text import read_change
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError
from sfe_core.sampling.sheets import compose_grid, save_animation
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


def test_a_unit_runs_through_its_grades_over_what_was_asked_beside_it():
    drawn = shots(prompt="portrait", sweep="AU12")
    assert [shot.label for shot in drawn] == [f"AU12 {grade}.00" for grade in range(6)]
    assert [dict(shot.expression.units)["AU12"] for shot in drawn] == [
        (float(grade), float(grade)) for grade in range(6)
    ]
    assert {(shot.prompt, shot.seed) for shot in drawn} == {("portrait", 42)}
    assert Request(prompt="portrait", sweep="AU12").guided
    calm = AskedExpression(units=(("AU6", (2.0, 2.0)),))
    left = shots(prompt="x", sweep="AU12L", count=2, asked=calm)[1].expression
    assert dict(left.units) == {"AU6": (2.0, 2.0), "AU12": (5.0, 0.0)}
    sad = shots(prompt="x", sweep="au12", emotion="sad", count=2)
    assert [shot.prompt for shot in sad] == ["sad, x"] * 2
    assert sad[1].expression == AskedExpression("sad", units=(("AU12", (5.0, 5.0)),))


def test_valence_runs_from_one_word_to_another():
    drawn = shots(prompt="x", sweep="valence")
    assert [shot.expression.valence for shot in drawn] == [-1.0, -0.5, 0.0, 0.5, 1.0]
    assert drawn[2].expression.actions().max() == 0
    assert drawn[-1].prompt == "happy, x" and drawn[0].prompt == "disgust, x"
    placed = shots(prompt="x", sweep="arousal", valence=-0.7, count=2)
    assert [shot.expression.place() for shot in placed] == [(-0.7, -1.0), (-0.7, 1.0)]
    happy = shots(sweep="valence", emotion="happy", count=3)
    assert [shot.expression.intensity for shot in happy] == [0.0, 0.0, 1.0]


def test_two_axes_are_a_grid_whose_first_runs_along_the_rows():
    drawn = shots(prompt="x", sweep="AU12xAU4", count=3)
    found = [
        tuple(dict(shot.expression.units)[code][0] for code in ("AU12", "AU4")) for shot in drawn
    ]
    assert found == [(across, down) for down in (0.0, 2.5, 5.0) for across in (0.0, 2.5, 5.0)]
    assert drawn[1].label == "AU12 2.50 AU4 0.00"
    assert len(shots(prompt="x", sweep="AU12xAU4")) == 25
    halves = shots(prompt="x", sweep="AU12L×AU12R", count=2)
    assert [dict(shot.expression.units)["AU12"] for shot in halves] == [
        (0.0, 0.0), (5.0, 0.0), (0.0, 5.0), (5.0, 5.0),
    ]  # fmt: skip
    plane = shots(prompt="x", sweep="valencexarousal", count=2)
    assert [shot.expression.place() for shot in plane] == [(-1, -1), (1, -1), (-1, 1), (1, 1)]
    seeds = shots(sweep="emotionxseed", count=2, seed=3)
    assert len(seeds) == 16 and [shot.seed for shot in seeds] == [3] * 8 + [4] * 8
    strengths = shots(sweep="intensityxemotion", count=2)
    assert [shot.expression for shot in strengths[:4]] == [
        AskedExpression(word, share) for word in EMOTIONS[:2] for share in (0.0, 1.0)
    ]


def test_words_mix_and_blendshapes_move_along_an_axis():
    mixed = shots(sweep="happyxsurprise", count=2)
    assert [dict(shot.expression.mixture) for shot in mixed][1] == {"happy": 1.0, "surprise": 0.0}
    opened = shots(sweep="jawopen", emotion="sad", count=2)
    assert [dict(shot.expression.blendshapes)["jawOpen"] for shot in opened] == [0.0, 1.0]
    assert {shot.prompt for shot in opened} == {"sad, face"}
    browns = AskedExpression("sad").as_blendshapes()
    assert dict(browns.blendshapes).items() <= dict(opened[1].expression.blendshapes).items()


def test_intensity_scales_all_that_was_asked():
    asked = AskedExpression(units=(("AU12", (4.0, 0.0)), ("AU1", (1.0, 1.0))))
    drawn = shots(prompt="x", sweep="intensity", asked=asked, count=3)
    assert [dict(shot.expression.units)["AU12"] for shot in drawn] == [
        (0.0, 0.0), (2.0, 0.0), (4.0, 0.0),
    ]  # fmt: skip
    half = shots(sweep="intensity", asked=AskedExpression("sad", 0.6), count=2)
    assert [shot.label for shot in half] == ["sad 0.00", "sad 0.60"]
    assert [shot.expression.intensity for shot in half] == [0.0, 0.6]


def test_an_animation_returns_over_its_frames(tmp_path: Path):
    tiles = [[(f"n {k}", Image.new("RGB", (96, 96), (50 * k, 0, 0)))] * 2 for k in range(4)]
    for back, frames in ((True, 6), (False, 4)):
        save_animation(tmp_path / "moving.webp", tiles, back)
        with Image.open(tmp_path / "moving.webp") as moving:
            assert (moving.format, moving.n_frames) == ("WEBP", frames)
            assert moving.width > 2 * 96
            moving.seek(3)
            assert moving.convert("RGB").getpixel((60, 60))[0] == pytest.approx(150, abs=6)


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


def test_a_change_goes_from_the_photos_own_to_the_whole():
    her, change = Path("her.png"), read_change(["AU12=+2", "AU4L=-1"])
    (shot,) = shots(prompt="x", like=her, change=change)
    assert (shot.prompt, shot.expression, shot.change, shot.guided) == ("x", None, change, True)
    assert shots(like=her, change=change)[0].prompt == "face"  # the template without emotion
    swept = shots(prompt="x", like=her, change=change, sweep="intensity", count=3)
    assert [shot.change for shot in swept] == [change.scaled(share) for share in (0, 0.5, 1)]
    assert [shot.label for shot in swept] == ["intensity 0.00", "intensity 0.50", "intensity 1.00"]
    seeds = shots(prompt="x", like=her, change=change, sweep="seed", count=2)
    assert [(shot.seed, shot.change) for shot in seeds] == [(42, change), (43, change)]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"prompt": "x"}, "--au-change: changes what a photo's face shows; add --like PHOTO"),
        ({"like": Path("a"), "emotion": "sad"}, "keeps the photo's expression, but another"),
        ({"like": Path("a"), "asked": SMIRK}, "keeps the photo's expression, but another"),
        ({"like": Path("a"), "valence": 0.1}, "keeps the photo's expression, but another"),
        ({"like": Path("a"), "rows": (AskedRow("t:1"),)}, "--table: was given together with"),
        ({"like": Path("a"), "sweep": "AU4"}, "--sweep AU4: sets what --au-change leaves"),
        ({"like": Path("a"), "sweep": "intensityxemotion"}, "--sweep emotion: sets what"),
    ],
)
def test_a_change_goes_with_a_photo_and_nothing_else_that_says_the_face(asked, said):
    with pytest.raises(UserError) as caught:
        Request(change=read_change(["AU12=+2"]), **asked)
    assert said in str(caught.value)


def test_a_line_of_a_table_is_guided_as_the_same_flags_are():
    word = AskedRow("t:2", expression=AskedExpression("sad"), by_word=True)
    rows = (word, AskedRow("t:3", expression=AskedExpression("sad")), AskedRow("t:4", prompt="y"))
    drawn = shots(prompt="portrait", rows=rows)
    assert [shot.guided for shot in drawn] == [False, True, False]
    typed = shots(prompt="portrait", emotion="sad")[0]
    assert replace(drawn[0], label=typed.label) == typed
    faced = shots(prompt="portrait", rows=rows, head=True)
    assert all(shot.guided for shot in faced)


def test_a_line_of_a_table_may_change_a_photo_of_its_own():
    her, him, change = Path("her.png"), Path("him.png"), read_change(["AU12=+2"])
    rows = (
        AskedRow("t:2", like=him, change=change),
        AskedRow("t:3", change=change),
        AskedRow("t:4", prompt="x", expression=AskedExpression("sad"), by_word=True),
        AskedRow("t:5", prompt="x", like=him),
    )
    drawn = shots(rows=rows, like=her)
    assert [(shot.like, shot.change) for shot in drawn] == [
        (him, change), (her, change), (her, None), (him, None),
    ]  # fmt: skip
    assert all(shot.guided for shot in drawn) and drawn[0].prompt == "face"
    alone = shots(prompt="x", rows=rows[2:])
    assert [shot.guided for shot in alone] == [False, True]


@pytest.mark.parametrize(
    ("row", "asked", "said"),
    [
        ({}, {}, "t:2: au_change: changes what a photo's face shows"),
        ({"like": Path("a"), "expression": SMIRK}, {}, "t:2: au_change: keeps the photo's"),
        ({"like": Path("a")}, {"head": True}, "t:2: like: stands beside --head"),
    ],
)
def test_a_line_that_contradicts_itself_is_named(row, asked, said):
    with pytest.raises(UserError, match=said):
        Request(rows=(AskedRow("t:2", change=read_change(["AU12=+2"]), **row),), **asked)


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
        ({"sweep": "AU12"}, "PROMPT: is empty"),
        ({"prompt": "x", "sweep": "AU99"}, "'AU99' is unknown"),
        ({"prompt": "x", "sweep": "AU30"}, "the head cannot show it"),
        ({"prompt": "x", "sweep": "AU26L"}, "moves both halves"),
        ({"prompt": "x", "sweep": "AU12xAU4xAU1"}, "has 3 axes"),
        ({"prompt": "x", "sweep": "AU12xAU12L"}, "one thing twice"),
        ({"prompt": "x", "sweep": "AU12x"}, "'' is unknown"),
        ({"prompt": "x", "sweep": "AU24xAU25"}, "at once"),
        ({"prompt": "x", "sweep": "happyxvalence"}, "both choose words"),
        ({"prompt": "x", "sweep": "AU12", "asked": SMIRK}, "--sweep AU12: was asked for"),
        ({"sweep": "valence", "valence": 0.5}, "--sweep valence: was asked for"),
        ({"sweep": "happy", "emotion": "happy"}, "--sweep happy: was asked for"),
        ({"sweep": "valence", "asked": AskedExpression("sad", 0.5)}, "without a strength"),
        ({"sweep": "intensity", "prompt": "x", "emotion": "neutral"}, "needs an emotion"),
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
