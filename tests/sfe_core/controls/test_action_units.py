"""Action units: the table, column names, grades, and their words."""

from __future__ import annotations

import pytest

from sfe_core.controls.action_units import (
    ACTION_UNITS,
    MOST_UNITS_NAMED,
    describe_unit,
    describe_units,
    grade,
    name_units,
    read_unit_column,
    scale_of_values,
)
from sfe_core.controls.facial_actions import UNITS

DISFA_UNITS = (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)
# Units coded for presence in BP4D, and those of its occurrence files beyond the paper's 27.
BP4D_UNITS = (1, 2, 4, 5, 6, 7, *range(9, 21), 22, 23, 24, 27, 28, *range(29, 40))


def test_the_table_holds_every_unit_of_disfa_bp4d_and_the_synthetic_faces() -> None:
    wanted = {*UNITS, *(f"AU{number}" for number in (*DISFA_UNITS, *BP4D_UNITS))}
    assert wanted <= ACTION_UNITS.keys()
    texts = [unit.seen for unit in ACTION_UNITS.values()]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize(
    ("code", "intensity", "text"),
    [
        ("AU12", 4.0, "lip corners pulled up strongly"),
        ("AU12", 1.0, "lip corners pulled up barely"),
        ("AU1", 5.0, "inner brows raised extremely"),
        ("AU4", 2.4, "brows lowered and drawn together slightly"),
        ("AU25", 0.4, ""),
        ("AU26", None, "jaw dropped"),
        ("AU45", 3.0, "eyes blinking"),
        ("AU45", 0.0, ""),
    ],
)
def test_a_unit_in_words(code: str, intensity: float | None, text: str) -> None:
    assert describe_unit(code, intensity) == text


def test_grades_are_the_nearest_and_stay_in_range() -> None:
    assert [grade(value) for value in (-1, 0, 0.49, 0.5, 2.5, 4.9, 5, 9)] == [
        0, 0, 0, 1, 3, 5, 5, 5,
    ]  # fmt: skip


def test_the_strongest_come_first_and_equals_from_brow_to_jaw() -> None:
    units = {"AU25": 2.0, "AU12": 4.0, "AU1": 2.0, "AU6": 0.0, "AU9": None}
    assert describe_units(units) == (
        "lip corners pulled up strongly, nose wrinkled, inner brows raised slightly, "
        "lips parted slightly"
    )
    assert describe_units({}) == ""


def test_many_units_are_cut_to_what_a_text_encoder_reads() -> None:
    every = dict.fromkeys(ACTION_UNITS, 3.0)
    assert len(describe_units(every).split(", ")) == MOST_UNITS_NAMED
    assert len(name_units(every)) == MOST_UNITS_NAMED


def test_units_by_their_names_and_numbers() -> None:
    units = {"AU12": 4.0, "AU1": 1.0, "AU25": 0.9, "AU9": None, "AU4": 0.4}
    names = ("lip corner puller", "nose wrinkler", "inner brow raiser")
    assert name_units(units) == names
    assert name_units(units, codes=True) == ("AU12", "AU9", "AU1")
    assert name_units(units, least=2.0) == names[:2]
    # Below the threshold, yet to be seen: neither there nor not.
    assert name_units(units, absent=5) == (*names, "no brow lowerer")
    assert name_units(units, absent=5, codes=True)[-1] == "no AU4"


def test_each_absent_unit_has_its_turn() -> None:
    gone = dict.fromkeys(("AU4", "AU1", "AU15", "AU6"), 0.0)
    drawn = [name_units(gone, absent=2, chosen_by=f"photo {n}", codes=True) for n in range(400)]
    assert drawn[0] == name_units(gone, absent=2, chosen_by="photo 0", codes=True)
    assert all(len(set(pair)) == 2 for pair in drawn) and ("no AU1", "no AU4") in drawn
    share = {code: sum(f"no {code}" in pair for pair in drawn) / 400 for code in gone}
    assert all(value == pytest.approx(0.5, abs=0.1) for value in share.values())


@pytest.mark.parametrize(
    ("name", "code", "scale"),
    [
        ("AU12", "AU12", None),
        ("au06", "AU6", None),
        ("AU_4", "AU4", None),
        ("AU01_r", "AU1", "intensity"),
        ("AU28_c", "AU28", "presence"),
        ("AU2_present", "AU2", "presence"),
        ("AU26_prob", "AU26", "probability"),
        ("Lip Corner Puller", "AU12", None),
        ("inner_brow_raiser_int", "AU1", "intensity"),
    ],
)
def test_columns_by_code_and_by_name(name: str, code: str, scale: str | None) -> None:
    column = read_unit_column(name)
    assert column is not None and (column.code, column.scale) == (code, scale)


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([0, 0.35, 0.95], "probability"),
        ([0, 1, 9, 999, -1], "presence"),
        ([0, 0.4, 2.5], "intensity"),
        ([0, 3], "intensity"),
        ([0, 1, 0.5, 9], "probability"),
    ],
)
def test_scale_by_values_where_no_name_tells(values: list[float], scale: str) -> None:
    assert scale_of_values(values) == scale


@pytest.mark.parametrize("name", ["AU3", "AU99", "age", "path", "au", "12"])
def test_other_columns_are_no_units(name: str) -> None:
    assert read_unit_column(name) is None


def test_every_name_of_the_table_is_read_back() -> None:
    for unit in ACTION_UNITS.values():
        column = read_unit_column(unit.name.title())
        assert column is not None and column.code == unit.code
