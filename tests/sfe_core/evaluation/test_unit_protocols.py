"""What the protocols ask for: how many pictures, of what, and within what a face can show."""

from __future__ import annotations

from collections import Counter

import pytest

from sfe_core.evaluation.unit_protocols import (
    COMBINATIONS,
    PROMPTS,
    PROTOCOL_UNITS,
    PhotoToChange,
    fineface_commands,
    magicface_commands,
)


def test_fineface_has_its_fifteen_prompts_twelve_units_five_levels_and_fifty_combinations():
    found = fineface_commands(PROTOCOL_UNITS)
    assert Counter(one.part for one in found) == {
        "single": 15 * (12 * 5 + 1),
        "combined": COMBINATIONS,
    }
    assert len({one.name for one in found}) == len(found)
    assert len(PROMPTS) == len(set(PROMPTS)) == len({one.who for one in found}) == 15
    alone = Counter(
        (unit, one.asked[unit])
        for one in found
        if one.part == "single"
        for unit in one.judged
        if any(map(any, one.asked.values()))
    )
    assert set(alone.values()) == {15} and len(alone) == 60
    assert found == fineface_commands(PROTOCOL_UNITS)  # the same list always


def test_what_is_not_asked_for_is_told_to_rest():
    for one in fineface_commands(PROTOCOL_UNITS, ["a face"]):
        assert set(one.told) == set(PROTOCOL_UNITS) and one.held_against == "00/rest"
        shown = {unit for unit, sides in one.told.items() if any(sides)}
        assert shown == (set() if one.name == "00/rest" else set(one.judged))
        if one.part == "combined":
            assert 2 <= len(shown) <= 4


def test_few_units_still_make_a_protocol():
    assert Counter(one.part for one in fineface_commands(["AU12"], ["a face"])) == {"single": 6}


def test_changes_stop_at_what_a_face_can_show_and_count_as_far():
    units = {"AU12": (3.0, 1.0), "AU4": (0.5, 0.5), "AU25": (2.0, 2.0)}
    photo = PhotoToChange("a/1", "anna", "a face", units)
    found = {one.name: one for one in magicface_commands(("AU12", "AU4"), [photo])}
    up = found["a/1/AU12+4"]
    assert (up.told["AU12"], up.asked["AU12"]) == ((5.0, 5.0), (2.0, 4.0))
    assert up.told["AU4"] == (0.5, 0.5) and up.told["AU25"] == (2.0, 2.0)
    assert up.asked["AU4"] == (0.0, 0.0) and (up.judged, up.who) == (("AU12",), "anna")
    assert "a/1/AU4-4" not in found  # half a grade down is nothing to be seen
    assert up.told_names()["AU25R"] == 2.0 and up.photo == up.held_against == "a/1"
    combined = [one for one in found.values() if one.part == "combined"]
    assert combined and all(1 <= len(one.judged) <= 2 for one in combined)


def test_combinations_hold_nothing_that_no_face_shows_at_once():
    found = fineface_commands(("AU5", "AU43", "AU12"), ["a face"])
    together = [set(one.judged) for one in found if one.part == "combined"]
    assert together and not any({"AU5", "AU43"} <= some for some in together)


@pytest.mark.parametrize("unit", ["AU17", "AU26"])
def test_what_moves_as_one_is_changed_as_one(unit: str):
    photo = PhotoToChange("k", "k", "", {unit: (2.0, 2.0)})
    for one in magicface_commands((unit,), [photo]):
        assert one.told[unit][0] == one.told[unit][1]
