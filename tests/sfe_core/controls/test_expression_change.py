"""Changes of what a face shows: read from text, and applied to units and facial actions."""

from __future__ import annotations

import numpy as np
import pytest

from sfe_core.controls.expression_change import ExpressionChange
from sfe_core.controls.expression_text import read_change
from sfe_core.controls.facial_actions import UNITS, actions_of_units
from sfe_core.errors import UserError
from sfe_core.faces.head import ACTION_NAMES

REST = np.zeros(len(ACTION_NAMES))
REST[ACTION_NAMES.index("eyeWideLeft")] = REST[ACTION_NAMES.index("eyeWideRight")] = 0.3


def test_a_change_is_typed_with_or_without_its_sign_and_by_side() -> None:
    typed = read_change(["AU12=+2,AU4=-1.5", "AU12R=1", "AU6L=2"])
    assert dict(typed.units) == {"AU12": (2.0, 1.0), "AU4": (-1.5, -1.5), "AU6": (2.0, 0.0)}
    assert typed.told() == "AU12 left +2 right +1, AU4 -1.5, AU6 left +2 right +0"


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("AU12=+6", "--au-change AU12: 6; give -5 to 5"),
        ("AU12", "--au-change: 'AU12' has no value"),
        ("AU99=+1", "--au-change AU99: is not an action unit"),
        ("AU46=+1", "--au-change: AU46: the head cannot show it"),
        ("AU26L=+1", "--au-change AU26: jaw drop moves both halves"),
        ("AU12=+1,AU12=+2", "--au-change AU12: is given twice"),
        ("AU24=+1,AU25=+2", "--au-change: AU24 and AU25: no face shows"),
        ("smile=+1", "--au-change smile: is not an action unit"),
        ("AU12=++1", "not a number"),
    ],
)
def test_what_cannot_change_is_one_line(typed: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        read_change([typed])
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_opposites_may_change_in_opposite_ways() -> None:
    assert read_change(["AU24=+3,AU25=-3"]).units


def test_units_stay_in_range_and_the_rest_as_read() -> None:
    shown = {"AU12": (4.0, 0.5), "AU4": (1.0, 2.0), "AU1": (0.2, 0.2)}
    after = read_change(["AU12=+2,AU4=-1.5,AU9=+1"]).of_units(shown)
    assert after == {"AU12": (5.0, 2.5), "AU4": (0.0, 0.5), "AU1": (0.2, 0.2), "AU9": (1.0, 1.0)}


def test_raising_a_unit_takes_its_opposite_away_unless_it_changes_too() -> None:
    shown = {"AU25": (3.0, 2.0), "AU12": (1.0, 1.0)}
    pressed = read_change(["AU24=+2"]).beside(shown)
    assert dict(pressed.units) == {"AU24": (2.0, 2.0), "AU25": (-3.0, -2.0)}
    assert pressed.of_units(shown)["AU25"] == (0.0, 0.0)
    for kept in ("AU24=-2", "AU24=+0.2", "AU24=+2,AU25=-1", "AU12=+1"):
        assert read_change([kept]).beside(shown) == read_change([kept])
    trace = {"AU25": (0.2, 0.4)}  # below what is to be seen
    assert read_change(["AU24=+2"]).beside(trace) == read_change(["AU24=+2"])


def test_no_change_moves_no_action_wherever_the_face_is() -> None:
    shown = np.random.default_rng(0).uniform(-0.2, 2.3, len(ACTION_NAMES))
    still = read_change(["AU12=0,AU5=0"]).of_actions(shown, REST)
    assert np.array_equal(still, shown.astype(np.float32))


@pytest.mark.parametrize("code", UNITS)
def test_from_rest_a_change_is_the_unit_itself_and_grows_with_it(code: str) -> None:
    whole, half = (
        ExpressionChange(((code, (by, by)),)).of_actions(REST, REST) - REST for by in (5.0, 2.5)
    )
    assert np.allclose(whole, actions_of_units({code: (5.0, 5.0)}), atol=1e-6)
    assert np.all(half <= whole + 1e-6) and half.sum() > 0


def test_a_change_there_and_back_is_none_and_others_stay() -> None:
    face = REST + actions_of_units({"AU12": (2.0, 1.0), "AU4": (3.0, 3.0), "AU26": (1.0, 1.0)})
    more = read_change(["AU12=+1"]).of_actions(face, REST)
    moved = {ACTION_NAMES[place] for place in np.flatnonzero(np.abs(more - face) > 1e-6)}
    assert moved == {f"{name}{side}" for name in ("mouthSmile", "cheekSquint")
                     for side in ("Left", "Right")}  # fmt: skip
    back = read_change(["AU12=-1"]).of_actions(more, REST)
    assert np.allclose(back, face, atol=1e-6)


def test_one_side_moves_alone() -> None:
    more = read_change(["AU12L=+2"]).of_actions(REST, REST) - REST
    smile = [more[ACTION_NAMES.index(f"mouthSmile{side}")] for side in ("Left", "Right")]
    assert smile[0] > 0.3 and smile[1] == 0


def test_a_face_goes_to_the_ends_and_not_beyond_them() -> None:
    smiling = REST + actions_of_units({"AU12": (4.0, 4.0)})
    most = read_change(["AU12=+5"]).of_actions(smiling, REST)
    assert np.allclose(most, REST + actions_of_units({"AU12": (5.0, 5.0)}), atol=1e-6)
    none = read_change(["AU12=-5"]).of_actions(smiling, REST)
    assert np.allclose(none, REST, atol=1e-6)
    beyond = REST.copy()
    beyond[ACTION_NAMES.index("mouthSmileLeft")] = 2.0  # as a fit may find it
    assert np.allclose(read_change(["AU12L=+1"]).of_actions(beyond, REST)[
        ACTION_NAMES.index("mouthSmileLeft")], 2.0)  # fmt: skip
