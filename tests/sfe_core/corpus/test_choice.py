"""Faces by label and by the range of any number."""

from __future__ import annotations

import pandas as pd
import pytest
from pydantic import ValidationError

from sfe_core.config.training_sections import DataConfig
from sfe_core.corpus.choice import choose_faces
from sfe_core.errors import UserError

ROWS = pd.DataFrame(
    {
        "key": list("abcdef"),
        "emotion": ["happy", "sad", None, "happy", "fear", "happy"],
        "valence": [0.9, -0.5, 0.1, None, -0.8, 0.2],
        "yaw": [0.0, 10.0, -40.0, 5.0, 30.0, 30.1],
        "label_AU12": [4.0, 0.0, 1.0, 3.0, 0.0, 2.0],
    }
)


def kept(**data) -> str:
    return "".join(choose_faces(ROWS, DataConfig(**data)).rows["key"])


def test_nothing_asked_keeps_all() -> None:
    choice = choose_faces(ROWS, DataConfig())
    assert choice.rows is ROWS and choice.left_out == {}


def test_labels_and_ranges_leave_out_the_rest() -> None:
    assert kept(emotions=("happy",)) == "adf"
    assert kept(emotions=("sad", "fear")) == "be"
    assert kept(ranges={"yaw": (-30, 30)}) == "abde"  # both ends belong to it
    assert kept(ranges={"valence": (-1, 1)}) == "abcef"  # unknown is in no range
    assert kept(ranges={"label_AU12": (2, 5), "valence": (0, 1)}) == "af"


def test_what_is_left_out_is_counted_once() -> None:
    data = DataConfig(emotions=("happy",), ranges={"yaw": (-30, 30)})
    choice = choose_faces(ROWS, data)
    assert choice.left_out == {"emotions": 3, "ranges.yaw": 1}
    assert choice.rows["key"].tolist() == ["a", "d"] and choice.rows.index.tolist() == [0, 1]


def test_what_cannot_be_applied_is_refused() -> None:
    with pytest.raises(UserError, match="yaws: is not a column.*valence, yaw, label_AU12"):
        kept(ranges={"yaws": (0, 1)})
    with pytest.raises(UserError, match="data.ranges.key: holds no numbers"):
        kept(ranges={"key": (0, 1)})
    with pytest.raises(UserError, match="no face is left .*emotions leaves out 5"):
        kept(emotions=("sad",), ranges={"yaw": (-5, 5)})
    with pytest.raises(ValidationError, match="'joy' is not an emotion; allowed: neutral"):
        DataConfig(emotions=("joy",))
    with pytest.raises(ValidationError, match="is empty"):
        DataConfig(ranges={"yaw": (3, 1)})
