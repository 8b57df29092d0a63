"""Columns named after emotions."""

from __future__ import annotations

import pytest

from sfe_core.corpus.tables.classes import WrongLabelError
from sfe_core.corpus.tables.votes import read_votes, vote_columns


@pytest.mark.parametrize(
    ("names", "emotions"),
    [
        ("image neutral happiness unknown anger nf", [None, "neutral", "happy", None, "anger",
                                                      None]),
        ("emotion.angry emotion.happy emotion.sad", ["anger", "happy", "sad"]),
        ("happy_prob sad_prob fear_prob", ["happy", "sad", "fear"]),
        ("is_happy is_sad is_angry", ["happy", "sad", "anger"]),
    ],
)  # fmt: skip
def test_names(names: str, emotions: list[str | None]) -> None:
    expected = {
        place: emotion
        for place, (name, emotion) in enumerate(zip(names.split(), emotions, strict=True))
        if emotion or name in ("unknown", "nf")
    }
    assert vote_columns(names.split()) == expected


@pytest.mark.parametrize(
    "names", ["happy sad", "happy joy sad fear", "male smiling young", "path emotion valence", ""]
)
def test_other_columns_are_no_votes(names: str) -> None:
    assert vote_columns(names.split() or [""]) == {}


@pytest.mark.parametrize(
    ("cells", "emotion"),
    [
        ("4 0 1 0", "neutral"),
        ("0 0,9 0.1 0", "happy"),
        ("2 2 1 0", ""),  # two are equal
        ("1 2 1 5", ""),  # most say unknown
        ("0 0 0 0", ""),
    ],
)
def test_most_votes_count(cells: str, emotion: str) -> None:
    votes = vote_columns(["neutral", "happy", "sad", "unknown"])
    assert read_votes(cells.split(), votes) == emotion


def test_a_vote_that_is_no_number_is_wrong() -> None:
    with pytest.raises(WrongLabelError, match="'many' is not a number of votes"):
        read_votes(["1", "many", "0"], vote_columns(["neutral", "happy", "sad"]))
