"""Expressions as typed, as tables, and as detectors wrote them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sfe_core.controls.asked_expression import AskedExpression
from sfe_core.controls.expression_files import read_expression, read_table
from sfe_core.controls.expression_text import (
    compose,
    read_change,
    read_emotion,
    read_mixture,
    read_units,
)
from sfe_core.errors import UserError


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_side_says_more_than_the_whole_unit_in_any_order() -> None:
    expected = {"AU12": (3.0, 0.0), "AU6": (2.0, 2.0)}
    assert dict(read_units(["AU12=3,AU6=2", "AU12R=0"])) == expected
    assert dict(read_units(["AU12_right=0", "au6=2", "AUL12=3"])) == expected


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: read_emotion("happy=much"), "'much' is not a number"),
        (lambda: read_mixture("happy"), "'happy' has no value"),
        (lambda: read_mixture(" , "), "is empty"),
        (lambda: read_units(["AU12=3", "AU12=2"]), "twice"),
        (lambda: read_units(["smile=3"]), "not an action unit"),
        (lambda: read_units(["AU12=inf"]), "not a number"),
        (lambda: compose("sad", 0.5, valence=-0.5), "decide the strength"),
        (lambda: compose(mixture=(("sad", 0.5),), arousal=0.1), "of its own"),
        (lambda: compose("sad", given=AskedExpression("sad")), "from a word, a mixture"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(call, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_a_table_of_ones_own(tmp_path: Path) -> None:
    rows = read_table(
        written(
            tmp_path, "faces.csv",
            "name,prompt,seed,emotion,intensity,valence,AU12,AU12R,jawOpen\n"
            'a,"portrait, old",7,happy,0.5,,,,\n'
            "b,,,,,,3,0,\n"
            "c,,,,,,,,0.4\n"
            "d,,,,,-0.7,,,\n"
            "e,x,,,,,,,\n",
        )
    )  # fmt: skip
    assert [row.name for row in rows] == list("abcde")
    assert (rows[0].prompt, rows[0].seed) == ("portrait, old", 7)
    assert [row.expression for row in rows[:3]] == [
        AskedExpression("happy", 0.5),
        AskedExpression(units=(("AU12", (3.0, 0.0)),)),
        AskedExpression(blendshapes=(("jawOpen", 0.4),)),
    ]
    assert rows[3].expression is not None and rows[3].expression.valence == -0.7
    assert rows[4].expression is None
    row = {"emotion": "happy", "intensity": 0.5, "prompt": None, "AU12": None}
    as_json = written(tmp_path, "faces.json", json.dumps([row]))
    assert read_expression(as_json) == AskedExpression("happy", 0.5)
    assert read_table(as_json)[0].prompt is None


def test_a_line_names_a_photo_and_what_changes_on_it(tmp_path: Path) -> None:
    (tmp_path / "her.png").write_bytes(b"")
    rows = read_table(
        written(
            tmp_path, "faces.csv",
            'like,au_change\nher.png,AU12=+2;AU4L=-1\nher.png,"AU12=+2,AU4L=-1"\n,AU6=1\nher.png,\n',
        )
    )  # fmt: skip
    change = read_change(["AU12=+2", "AU4L=-1"])
    assert [row.change for row in rows] == [change, change, read_change(["AU6=1"]), None]
    assert [row.like and row.like.name for row in rows] == ["her.png", "her.png", None, "her.png"]
    assert all(row.expression is None and not row.by_word for row in rows)
    in_json = json.dumps([{"like": "her.png", "au_change": {"AU12": 2, "AU4L": -1}}])
    (row,) = read_table(written(tmp_path, "faces.json", in_json))
    assert (row.like, row.change) == (tmp_path / "her.png", change)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("like\ngone.png\n", "t.csv:2: like: .*gone.png is not there"),
        ("prompt,au_change\nx,AU12\n", "t.csv:2: .*'AU12' has no value"),
        ("prompt,au_change\nx,AU12=9\n", "t.csv:2: .*AU12"),
    ],
)
def test_a_photo_that_is_away_and_a_change_that_is_none_name_their_line(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        read_table(written(tmp_path, "t.csv", text))


def test_a_file_with_one_expression_names_no_photo(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give it by --table"):
        read_expression(written(tmp_path, "t.csv", "au_change\nAU12=1\n"))


def test_a_word_alone_in_a_line_is_known_for_one(tmp_path: Path) -> None:
    rows = read_table(
        written(
            tmp_path, "faces.csv",
            "emotion,intensity,valence,mix,AU12,jawOpen\n"
            "happy,,,,,\nhappy=1,,,,,\nhappy,1,,,,\nhappy,,0.8,,,\n"
            ",,,happy=1,,\nhappy,,,,2,\n,,,,,0.2\n,,,,,\n",
        )
    )  # fmt: skip
    assert [row.by_word for row in rows] == [True] + [False] * 7


def test_openface_intensities_without_the_lines_that_show_no_face(tmp_path: Path) -> None:
    (row,) = read_table(
        written(
            tmp_path, "o.csv",
            "frame, face_id, timestamp, confidence, success, AU05_r, AU12_r, AU45_r, AU12_c\n"
            "1, 0, 0.0, 0.98, 1, 0.00, 2.31, 5.4, 1\n2, 0, 0.0, 0.1, 0, 1.0, 3.0, 0, 1\n",
        )
    )  # fmt: skip
    assert row.expression is not None
    assert dict(row.expression.units) == {
        "AU5": (0.0, 0.0), "AU12": (2.31, 2.31), "AU45": (5.0, 5.0),
    }  # fmt: skip


def test_pyfeat_fractions_become_intensities_and_of_opposites_the_stronger_stays(tmp_path) -> None:
    (row,) = read_table(
        written(
            tmp_path, "p.csv",
            ",input,frame,FaceScore,AU01,AU11,AU24,AU25,anger\n0,x.jpg,0,0.99,0.4,0.9,0.3,0.9,0.1\n",
        )
    )  # fmt: skip
    assert row.expression is not None and row.name == "x.jpg"
    assert dict(row.expression.units) == {"AU1": (2.0, 2.0), "AU25": (4.5, 4.5)}


def test_libreface_intensities_beside_its_detections(tmp_path: Path) -> None:
    path = written(tmp_path, "l.csv", "frame_idx,au_1,au_12,au_12_intensity\n0,1,1,3.2\n")
    assert read_expression(path) == AskedExpression(units=(("AU12", (3.2, 3.2)),))


@pytest.mark.parametrize("key", ["categoryName", "category_name"])
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_mediapipe_categories_wherever_they_stand(tmp_path: Path, key: str, depth: int) -> None:
    scores = [("_neutral", 0.9), ("jawOpen", 0.25), ("mouthSmileLeft", 0.5)]
    data: object = [{"index": n, "score": s, key: name} for n, (name, s) in enumerate(scores)]
    for _ in range(depth):
        data = {"faceBlendshapes": [{"categories": data}]} if depth == 2 else [data]
    path = written(tmp_path, "m.json", json.dumps(data))
    expected = (("jawOpen", 0.25), ("mouthSmileLeft", 0.5))
    assert read_expression(path) == AskedExpression(blendshapes=expected)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "emotion,agee\nsad,3\n", "a.csv:2: agee: is unknown"),
        ("a.csv", "emotion\n", "holds no line"),
        ("a.csv", "AU12,AU12\n1,2\n", "two columns"),
        ("a.csv", "emotion,AU12\nsad\n", "does not have 2 cells"),
        ("a.csv", "emotion\njoy\n", "a.csv:2: --emotion: 'joy'"),
        ("a.csv", "emotion\nsad=x\n", "a.csv:2: --emotion: 'x'"),
        ("a.csv", "emotion,intensity\nsad=1,1\n", "a.csv:2: intensity: is given twice"),
        ("a.csv", "AU12\n7\n", "a.csv:2: --au AU12: 7"),
        ("a.csv", "seed,emotion\n1.5,sad\n", "whole number"),
        ("a.csv", "emotion\nsad\nfear\n", "holds 2 expressions"),
        ("a.csv", "prompt\nx\n", "says nothing"),
        ("a.csv", "emotion,jawOpen\nsad,1\n", "a.csv:2: the expression: comes from blendshapes"),
        ("a.csv", "emotion;mix\nsad;\n", "emotion;mix: is unknown"),
        ("a.csv", "AU26L\n2\n", "a.csv:2: --au AU26.*both halves"),
        ("a.csv", "intensity\n0.3\n", "name the emotion"),
        ("a.csv", "success,AU12_r\n1,nan\n", "a.csv:2: AU12_r: 'nan'"),
        ("a.json", "null", "not an object"),
        ("a.json", '{"jawOpen": [1]}', "'\\[1\\]' is not a number"),
        ("a.json", '{"jawOpen": 5}', "jawOpen: 5; give 0 to 2.3"),
        ("a.csv", "success,AU12_r\n0,3\n", "found no face"),
        ("a.csv", "success,AU12_c\n1,1\n", "no intensity"),
        ("a.json", "{", "cannot be read"),
        ("a.json", "[1]", "not an object"),
    ],
)
def test_what_a_file_cannot_say_is_refused(tmp_path: Path, name: str, text: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        read_expression(written(tmp_path, name, text))
    assert "\n" not in str(caught.value)
