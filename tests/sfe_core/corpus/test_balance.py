"""Faces drawn by emotion, by their rarest action unit and by person, counted in an epoch."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sfe_core.config.loading import preset_config
from sfe_core.config.model import Config
from sfe_core.corpus.balance import draws_per_epoch, present_units
from sfe_core.corpus.sampler import DeterministicSampler, rare_weights
from sfe_core.errors import UserError

NAN = np.nan


def rows(count: int, **columns: object) -> pd.DataFrame:
    plain = {"emotion": [None] * count, "identity": [None] * count}
    return pd.DataFrame({**plain, **columns})


def config(**train: float) -> Config:
    return preset_config("tiny", {f"train.{name}": value for name, value in train.items()})


def test_a_unit_is_there_by_intensity_by_a_side_or_by_presence() -> None:
    faces = rows(
        5,
        label_AU12=[3.0, 1.0, NAN, NAN, 0.0],
        label_AU12_present=[0.0, 1.0, 1.0, 0.0, 1.0],
        label_AU4L=[NAN, 0.0, 2.0, NAN, NAN],
        label_AU4R=[NAN, 2.5, 0.0, NAN, NAN],
        label_AU9=["x", "2", NAN, NAN, NAN],
        label_AU6_present=[1.0, 0.0, NAN, NAN, 1.0],
        label_AU1=[NAN] * 5,
        label_note=["a"] * 5,
    )
    there = present_units(faces, 2.0)
    assert there.to_dict("list") == {
        "AU4": [False, True, True, False, False],
        "AU6": [True, False, False, False, True],
        "AU9": [False, True, False, False, False],
        "AU12": [True, False, True, False, False],
    }
    assert present_units(faces, 1.0)["AU12"].tolist() == [True, True, True, False, False]


def test_rare_units_are_drawn_more_often_by_their_root() -> None:
    # 16 faces with AU12, of which 4 have AU4 as well; one with AU9 alone; three at rest.
    present = np.zeros((20, 3), bool)
    present[:16, 0], present[:4, 1], present[16, 2] = True, True, True
    assert rare_weights(present, 0.0).tolist() == [1.0] * 20
    assert rare_weights(present, 1.0).tolist() == [2.0] * 4 + [1.0] * 12 + [4.0] + [1.0] * 3
    assert rare_weights(present, 0.5).tolist() == [1.5] * 4 + [1.0] * 12 + [2.5] + [1.0] * 3
    assert rare_weights(np.zeros((2, 0), bool), 1.0).tolist() == [1.0, 1.0]


def test_people_are_evened_out_whatever_their_units() -> None:
    """A person with many pictures, one with few, one of them with a rare unit."""
    faces = rows(
        12,
        identity=["a"] * 8 + ["b"] * 2 + ["c"] * 2,
        label_AU12=[3.0] * 9 + [0.0] * 3,
        label_AU4=[0.0] * 8 + [4.0] + [0.0] * 3,
    )
    drawn = draws_per_epoch(faces, config(balance=0, balance_units=1, balance_subjects=1))
    people = pd.Series(drawn).groupby(faces["identity"]).sum()
    assert people.tolist() == pytest.approx([8.0] * 3)
    assert drawn[8] / drawn[9] == pytest.approx(3.0)  # sqrt(9 / 1), within her own pictures
    order = DeterministicSampler(12, 0, drawn).order(0)
    assert len(order) == 24 and set(order) == set(range(12))


def test_unknown_people_are_drawn_once_and_halves_lie_between() -> None:
    faces = rows(7, identity=["a", "a", "a", "a", "b", "b", None])
    assert draws_per_epoch(faces, config(balance=0, balance_subjects=1)).tolist() == (
        [1.0] * 4 + [2.0] * 2 + [1.0]
    )
    half = draws_per_epoch(faces, config(balance=0, balance_subjects=0.5))
    assert half.tolist() == [1.0] * 4 + [1.5] * 2 + [1.0]


def test_emotions_alone_are_balanced_as_ever() -> None:
    faces = rows(5, emotion=["happy"] * 3 + ["sad", None])
    assert draws_per_epoch(faces, config(balance=1)).tolist() == [1.0, 1.0, 1.0, 3.0, 1.0]


@pytest.mark.parametrize(
    ("setting", "message"),
    [("balance_units", "no label.*action unit is there"), ("balance_subjects", "whose it is")],
)
def test_nothing_to_balance_is_one_line(setting: str, message: str) -> None:
    with pytest.raises(UserError, match=f"train.{setting}: .*{message}.*or set it to 0"):
        draws_per_epoch(rows(3, label_AU12=[0.0, NAN, 0.4]), config(**{setting: 0.5}))
