"""Classes by number and name, as each data set means them."""

from __future__ import annotations

import pytest

from sfe_core.corpus.importing.classes import (
    SCHEMES,
    WrongLabelError,
    check_scheme,
    is_class_name,
    need_scheme,
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


def test_numbered_folders_need_a_scheme() -> None:
    need_scheme(["happy", "sad"], None, "here")
    need_scheme(["1", "2"], "raf-db", "here")
    with pytest.raises(UserError, match=r"numbers \(1, 2\).*--classes affectnet \| raf-db"):
        need_scheme(["2", "1", "happy"], None, "here")
    with pytest.raises(UserError, match="choose affectnet"):
        check_scheme("rafdb")


def test_folder_names() -> None:
    assert is_class_name("Surprised") and is_class_name("7")
    assert not is_class_name("train") and not is_class_name("2013")
