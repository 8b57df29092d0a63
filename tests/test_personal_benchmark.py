"""The benchmark of the personal recipe: figures, rows, verdicts, made-up numbers."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from sfe_core.config.layers import Layer
from sfe_core.config.loading import override_layer, resolve
from sfe_core.errors import UserError
from sfe_core.evaluation.summary import Interval, PersonalOfSet, PersonalResult, StrengthPoint
from tests.benchmarks import personal_tiny
from tests.benchmarks.personal_measures import (
    BASE,
    PLAIN,
    base_of,
    differences,
    figure,
    figures,
    numbers_of,
    rows_table,
    unit_of,
    verdicts,
    verdicts_table,
)


def units(count: int = 6, **numbers: float | None) -> dict[str, dict[str, float | None]]:
    """As many units, apart by a thousandth each."""
    return {
        f"{n}": {key: None if one is None else one + n / 1000 for key, one in numbers.items()}
        for n in range(count)
    }


WORDS = {"shown": 0.3, "identity": 0.9, "class_kept": 0.0, "locality": 1.0, "linearity": None}
WORDS |= {"sample_s": 1.0}
GOOD = {"shown": 0.45, "identity": 0.89, "class_kept": -0.01, "locality": 3.5, "linearity": 0.9}
GOOD |= {"sample_s": 1.2}


def words(row: str = "all", **changed: float | None) -> dict[str, str]:
    own, plain = units(**{**GOOD, **changed}), units(**WORDS)
    return {one.what: one.word for one in verdicts(row, figures(own), differences(own, plain))}


def test_a_figure_is_the_mean_with_wide_ends_and_none_of_nothing():
    found = figure([0.1, 0.2, None, 0.3, float("nan")])
    assert found is not None and found.value == pytest.approx(0.2) and found.units == 3
    assert found.low is not None and found.low == pytest.approx(0.1)
    assert figure([None]) is None
    two = figure([0.1, 0.2])
    assert two is not None and two.low is None and two.shown(share=True) == "15.0 %"


def test_differences_are_of_the_same_person_and_seed():
    one, other = {"a": {"shown": 0.5}, "b": {"shown": 0.9}}, {"a": {"shown": 0.3}}
    found = differences(one, other)["shown"]
    assert found is not None and found.value == pytest.approx(0.2) and found.units == 1


def test_all_is_met_where_numbers_are_good():
    assert set(words().values()) == {"met"} and len(words()) == 6


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        ("shown", 0.39, "expression +10 points on plain"),
        ("identity", 0.86, "identity down by 0.03 at most"),
        ("linearity", 0.80, "strength linear, r of 0.81"),
        ("class_kept", -0.04, "class prompt down by 3 points at most"),
        ("locality", 2.9, "change inside the mask 3 times that outside"),
        ("sample_s", 1.4, "sampling time 1.3 of plain at most"),
    ],
)
def test_each_is_missed_by_its_own_number(key, value, what):
    assert [name for name, word in words(**{key: value}).items() if word == "missed"] == [what]
    assert words(**{key: None})[what] == "not measured"


def test_plain_is_not_held_against_itself():
    assert len(words(PLAIN)) == 2


def test_a_unit_is_read_at_full_strength_and_a_line_of_two_points_is_none():
    def interval(value: float | None) -> Interval:
        return Interval(value=value)

    def point(strength: float, shown: float) -> StrengthPoint:
        rest = dict.fromkeys(("probability", "identity", "done", "lazy", "overdone"), interval(0.5))
        return StrengthPoint(strength=strength, shown=interval(shown), **rest)

    def result(*points: StrengthPoint) -> PersonalResult:
        numbers = {
            key: interval(0.8)
            for key in PersonalOfSet.model_fields
            if key not in ("title", "points")
        }
        one = PersonalOfSet(title="p", points=list(points), **numbers)
        told = {"person": "sks", "photos": 3, "embedder": "d", "different_are": "", "least": None}
        return PersonalResult(same=0.9, different=0.4, sets={"person_1": one}, **told)

    swept = unit_of(result(point(0, 0.1), point(0.5, 0.3), point(1, 0.7)), {"train_s": 5.0})
    assert swept["shown"] == 0.7 and swept["linearity"] == 0.8 and swept["train_s"] == 5.0
    assert unit_of(result(point(0, 0.1), point(1, 0.7)), {})["linearity"] is None


def test_the_base_is_what_the_class_prompt_was():
    found = base_of(
        {"class_shown": 0.3, "class_kept": 0.1, "class_spread": 0.4, "spread_kept": 0.8}
    )
    assert found["shown"] == pytest.approx(0.2) and found["class_spread"] == pytest.approx(0.5)


def test_every_row_is_of_valid_settings_or_of_fusion():
    for row, overrides in personal_tiny.ROWS.items():
        told = [one.format(expressions="x") for one in overrides]
        known = [one for one in told if "fusion" not in one]
        resolve([Layer("test", {"preset": "tiny-personal"}), override_layer(known)])
        assert row == PLAIN or told


def test_the_result_says_what_was_met_and_holds_the_same_numbers(tmp_path):
    rows = {BASE: units(shown=0.1), PLAIN: units(**WORDS), "all": units(**GOOD)}
    facts = {"updates": 9, "resolution_px": 128, "device": "d", "torch": "2", "seconds": {}}
    chosen = argparse.Namespace(people=3, seeds=2, set=[], expressions="/a/b/x", results=tmp_path)
    personal_tiny.write_result(rows, chosen, facts)
    text = (tmp_path / "personal_tiny.md").read_text(encoding="utf-8")
    assert "| all | expression +10 points on plain | +15.0 [+15.0, +15.0] | met |" in text
    assert verdicts_table(rows) in text and rows_table(rows) in text
    plain = json.loads((tmp_path / "personal_tiny.json").read_text(encoding="utf-8"))
    assert plain["rows"] == json.loads(json.dumps(numbers_of(rows)))
    assert plain["setting"]["expressions"] == "x"


def test_an_unknown_row_is_refused_before_anything_is_made(tmp_path: Path):
    with pytest.raises(UserError, match="--rows nothing"):
        personal_tiny.main(["--work", str(tmp_path / "w"), "--rows", "nothing"])
    assert not (tmp_path / "w").exists()
