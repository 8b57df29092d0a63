"""Classes by number and name, as each data set means them."""

from __future__ import annotations

import pytest

from sfe_core.corpus.tables.classes import (
    SCHEMES,
    WrongLabelError,
    check_scheme,
    folder_class,
    is_number,
    read_class,
)
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError


@pytest.mark.parametrize(
    ("scheme", "order"),
    [
        ("affectnet", "neutral happy sad surprise fear disgust anger contempt"),
        ("raf-db", "- surprise fear disgust happy sad anger neutral"),
        ("fer2013", "anger disgust fear happy sad surprise neutral"),
        ("ferplus", "neutral happy surprise sad anger disgust fear contempt"),
        ("expw", "anger disgust fear happy sad surprise neutral"),
        ("ck+", "neutral anger contempt disgust fear happy sad surprise"),
        ("ck-extended", "anger disgust fear happy sad surprise neutral contempt"),
        ("aff-wild2", "neutral anger disgust fear happy sad surprise"),
    ],
)
def test_numbers(scheme: str, order: str) -> None:
    expected = {n: name for n, name in enumerate(order.split()) if name != "-"}
    assert SCHEMES[scheme] == expected
    assert {read_class(f"{n}.0", scheme) for n in expected} <= set(EMOTIONS)


def test_names_in_any_case_need_no_scheme() -> None:
    assert [read_class(name, None) for name in ("Happiness", " ANGRY", "fear", "Uncertain")] == [
        "happy", "anger", "fear", None,
    ]  # fmt: skip


def test_none_codes_are_affectnets_alone() -> None:
    assert read_class("9", "affectnet") is None
    with pytest.raises(WrongLabelError, match="not in fer2013: 0 anger"):
        read_class("9", "fer2013")


@pytest.mark.parametrize("text", ["3", "1.5", "joyish", "-4"])
def test_numbers_without_a_scheme_and_unknown_names_are_wrong(text: str) -> None:
    with pytest.raises(WrongLabelError):
        read_class(text, None)


def test_schemes_are_named_in_any_spelling_or_by_their_emotions() -> None:
    assert [check_scheme(name) for name in ("rafdb", "RAF-DB", "CKplus", "fer+", "FER_2013")] == [
        "raf-db", "raf-db", "ck+", "ferplus", "fer2013",
    ]  # fmt: skip
    own = check_scheme("angry,disgust,fear,happy,neutral,sad,surprise")
    assert [read_class(str(n), own) for n in (0, 4, 6)] == ["anger", "neutral", "surprise"]
    with pytest.raises(UserError, match="'kaggle' is unknown; choose affectnet"):
        check_scheme("kaggle")
    with pytest.raises(UserError, match="'glad' is not an emotion"):
        check_scheme("sad,glad")


def test_folder_names() -> None:
    names = ("Surprised", "0_neutral", "03-Happiness", "NE", "train", "10_woman", "7")
    assert [folder_class(name) for name in names] == [
        "surprise", "neutral", "happy", None, None, None, None,
    ]  # fmt: skip
    assert is_number("07") and not is_number("2013") and not is_number("p1")
