"""What can be asked of an edit, and along what it is swept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sfe_core.controls.asked_expression import AskedExpression
from sfe_core.controls.expression_change import ExpressionChange
from sfe_core.errors import UserError
from sfe_core.sampling.editing.axes import (
    check_edit_axes,
    edit_at,
    points,
    read_edit_axes,
    seeds_on,
)
from sfe_core.sampling.editing.request import Edit, EditRequest

HAPPY = AskedExpression("happy")
SMILE = AskedExpression(units=(("AU12", (3.0, 3.0)),))
CHANGE = ExpressionChange((("AU12", (2.0, 2.0)),))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    (tmp_path / "photo.png").write_bytes(b"a photo")
    return tmp_path / "photo.png"


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ({"asked": HAPPY, "change": CHANGE}, "--au-change"),
        ({"asked": HAPPY, "expression_of": "photo"}, "--expression-of"),
        ({"change": CHANGE, "expression_of": "photo"}, "--au-change"),
        ({"light": "left", "light_of": "photo"}, "--light"),
        ({"light": "behind"}, "front, soft"),
        ({"frontal": True, "pose_of": "photo"}, "--frontal"),
        ({"pose_of": Path("nowhere.png")}, "does not exist"),
        ({"jaw": 1.5}, "--jaw"),
        ({"yaw": 120.0}, "--yaw"),
        ({"pitch": float("nan")}, "--pitch"),
        ({"strength": 3.0, "yaw": 1.0}, "--strength"),
        ({"asked": AskedExpression("happy", 1.3)}, "face shows all of it at 1"),
    ],
)
def test_what_contradicts_itself_is_refused(photo: Path, said: dict[str, Any], word: str) -> None:
    fields = {name: photo if value == "photo" else value for name, value in said.items()}
    with pytest.raises(UserError, match=word):
        Edit(**fields)


def test_any_combination_of_the_rest_is_one_edit(photo: Path) -> None:
    edit = Edit(
        asked=SMILE, jaw=0.2, yaw=20.0, light="left", expression_of=photo, pose_of=photo,
        look_of=photo, strength=0.5,
    )  # fmt: skip
    assert edit.changes_expression and edit.turns and set(edit.targets) == {
        "expression", "pose", "look",
    }  # fmt: skip
    record = edit.record()
    assert record["yaw"] == 20.0 and record["light"] == "left" and len(record["pose_of"]) == 64
    before = record["pose_of"]
    photo.write_bytes(b"another photo")
    assert edit.record()["pose_of"] != before, "photos count by their content"
    assert "AU12 3" in edit.told() and "strength 0.5" in edit.told()


def test_a_request_must_ask_for_something(photo: Path) -> None:
    with pytest.raises(UserError, match="nothing is to change"):
        EditRequest((photo,))
    with pytest.raises(UserError, match="PHOTO"):
        EditRequest((), Edit(yaw=1.0))
    with pytest.raises(UserError, match="does not exist"):
        EditRequest((photo.parent / "none.png",), Edit(yaw=1.0))
    with pytest.raises(UserError, match="--count"):
        EditRequest((photo,), Edit(yaw=1.0), count=3)
    assert EditRequest((photo,), sweep="yaw").edit == Edit()


def test_a_grid_moves_a_turn_and_a_unit() -> None:
    axes = read_edit_axes("YawxAU12", 3)
    check_edit_axes(axes, Edit(light="left"))
    edits = [edit_at(Edit(light="left"), point) for point in points(axes)]
    assert [edit.yaw for edit in edits] == 3 * [-30.0, 0.0, 30.0]
    assert [edit.asked.units[0][1][0] for edit in edits if edit.asked] == [
        0.0, 0.0, 0.0, 2.5, 2.5, 2.5, 5.0, 5.0, 5.0,
    ]  # fmt: skip
    assert {edit.light for edit in edits} == {"left"}


def test_lights_seeds_strengths_and_emotions_are_axes() -> None:
    lights = read_edit_axes("light", None)
    assert [edit_at(Edit(), point).light for point in points(lights)] == [
        "left", "right", "top", "bottom", "front", "soft",
    ]  # fmt: skip
    (seeds,) = read_edit_axes("seed", 3)
    assert [seeds_on({seeds: value}) for value in seeds.values] == [0, 1, 2]
    shares = [edit_at(Edit(yaw=10.0), point) for point in points(read_edit_axes("strength", 3))]
    assert [edit.strength for edit in shares] == [0.0, 0.5, 1.0]
    (emotions,) = read_edit_axes("emotion", None)
    words = [edit_at(Edit(), {emotions: value}).asked for value in emotions.values]
    assert [word.emotion for word in words if word][:2] == ["neutral", "happy"]
    assert emotions.label(1.0) == "happy" and seeds.label(2.0) == "seed +2"


@pytest.mark.parametrize(
    ("sweep", "edit", "word"),
    [
        ("yaw", Edit(yaw=10.0), "beside it"),
        ("light", Edit(light="left"), "beside it"),
        ("strength", Edit(), "moves nothing"),
        ("yawxpitchxroll", Edit(), "3 axes"),
        ("yawxyaw", Edit(), "twice"),
        ("hat", Edit(), "yaw, pitch, roll, jaw, strength, light, seed"),
        ("AU12", Edit(asked=SMILE), "beside it"),
        ("intensity", Edit(), "needs an emotion"),
    ],
)
def test_axes_that_do_not_fit_are_refused(sweep: str, edit: Edit, word: str) -> None:
    with pytest.raises(UserError, match=word):
        check_edit_axes(read_edit_axes(sweep, None), edit)
