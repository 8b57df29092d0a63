"""Whose numbers: told by names, columns and values, and otherwise left open."""

from __future__ import annotations

from pathlib import PurePath

import pytest

from sfe_core.corpus.tables.numbering import Evidence, ask, name_hints, place_hints

HASH = "0123456789abcdef" * 3 + "01234567"


@pytest.mark.parametrize(
    ("images", "schemes"),
    [
        (["train_00001_aligned.jpg", "test_0002_aligned.jpg"], {"raf-db"}),
        (["train/1/train_00001.png"], {"raf-db"}),
        ([f"1221/{HASH}.jpg", f"8/{HASH}"], {"affectnet"}),
        (["/data/Manually_Annotated_Images/1/a.jpg"], {"affectnet"}),
        (["fer0000001.png", "Training_17.jpg"], {"fer2013", "ferplus"}),
        (["S005/001/S005_001_00000011.png"], {"ck+"}),
        (["1-30-1280x720/00001.jpg", "1-30-1280x720_left/00002.jpg"], {"aff-wild2"}),
        (["/sets/CK+48/a.png"], {"ck+", "ck-extended"}),
        ([r"D:\FER2013\a.png"], {"fer2013"}),
    ],
)
def test_names_of_images(images: list[str], schemes: set[str]) -> None:
    assert name_hints(images) == [frozenset(schemes)]


@pytest.mark.parametrize(
    "images",
    [
        ["img_001.jpg", "8/a.jpg", "810/b.jpg"],
        ["train_1.jpg", "test_00001.jpg", "train_000001.jpg"],
        ["happy_01_02.jpg"],
        ["train_00001.jpg", "mine.jpg"],
        ["video1/00001.jpg"],
        ["craft/a.jpg", "giraffe/b.jpg"],
    ],
)
def test_names_that_tell_nothing(images: list[str]) -> None:
    assert name_hints(images) == []


@pytest.mark.parametrize(
    ("path", "scheme"),
    [
        ("/home/me/list_patition_label.txt", "raf-db"),
        ("/data/RAF_DB/basic/labels.csv", "raf-db"),
        ("/data/affectnet/fer2013.csv", "fer2013"),
        ("/data/fer2013new.csv", "ferplus"),
        ("/data/FERPlus/label.csv", "ferplus"),
        ("/data/ExpW/label.lst", "expw"),
        ("/data/ck/ckextended.csv", "ck-extended"),
        ("/data/aff-wild2/train.csv", "aff-wild2"),
        ("/projects/affectnet/a/b/c/labels.csv", None),
        ("/data/affectnet_and_rafdb.csv", None),
        ("/data/labels.csv", None),
    ],
)
def test_names_of_places(path: str, scheme: str | None) -> None:
    assert place_hints([PurePath(path), None]) == ([frozenset({scheme})] if scheme else [])


def evidence(values: str, *hints: set[str]) -> Evidence:
    return Evidence({int(n): 1 for n in values.split()}, tuple(frozenset(h) for h in hints))


@pytest.mark.parametrize(
    ("found", "scheme"),
    [
        (evidence("1 2 3 7", {"raf-db"}), "raf-db"),
        (evidence("0 1 2", {"raf-db"}), None),  # 0 is not RAF-DB's
        (evidence("0 1 12", {"fer2013"}), "fer2013"),  # 12 is a slip
        (evidence("0 3", {"fer2013", "ferplus"}), None),
        (evidence("0 8", {"fer2013", "ferplus"}), "ferplus"),
        (evidence("0 3", {"fer2013"}, {"raf-db"}), None),
        (evidence("0 3 7 10"), "affectnet"),  # only AffectNet has a 10
        (evidence("0 10"), None),
        (evidence("0 1 2 3 4 5 6"), None),
        (evidence("0 1 2 3 4 5 6 7"), None),
        (evidence("1 2 3 4 5 6 7"), None),
        (evidence("11 12", {"raf-db"}), None),
        (evidence("0 1 2 3", {"fer2013", "expw"}), "fer2013"),  # the same numbers
    ],
)
def test_evidence(found: Evidence, scheme: str | None) -> None:
    assert found.scheme == scheme


@pytest.mark.parametrize(
    ("valences", "scheme"),
    [
        ({0: 0.0, 1: 0.6, 2: -0.5, 6: -0.4}, "affectnet"),
        ({0: 0.1, 1: -0.5, 4: 0.7, 5: -0.6}, "aff-wild2"),
        ({0: 0.1}, None),
        ({1: -0.5, 4: -0.7}, None),
    ],
)
def test_happy_faces_are_pleasant(valences: dict[int, float], scheme: str | None) -> None:
    dimensions = frozenset({"affectnet", "aff-wild2"})
    found = Evidence(dict.fromkeys((*valences, 3), 5), (dimensions,), valences)
    assert found.scheme == scheme


def test_the_question_shows_what_each_scheme_would_make_of_the_numbers() -> None:
    error = ask("list.csv", Evidence({1: 5, 2: 3}), "say --classes NAME")
    assert str(error).startswith("list.csv: emotions are numbers")
    for told in (
        "(1 × 5, 2 × 3)", "affectnet: happy 5, sad 3", "raf-db: surprise 5, fear 3",
        "fer2013 or expw or ck-extended: disgust 5, fear 3", "say --classes NAME",
    ):  # fmt: skip
        assert told in str(error)
    assert "\n" not in str(error)


def test_the_question_puts_the_likely_first_and_says_what_does_not_fit() -> None:
    shaped = str(ask("x", evidence("1 2 3 4 5 6 7"), ""))
    assert shaped.index("raf-db: ") < shaped.index("affectnet: ")
    assert "not those of expw, which the names speak of" in str(
        ask("x", evidence("0 7", {"expw"}), "")
    )
    assert "of no known set (11 × 1)" in str(ask("x", evidence("11"), ""))


def test_a_scheme_that_the_user_names_is_doubted_where_the_names_say_another() -> None:
    told = evidence("1 2 3", {"raf-db"})
    assert told.doubt("affectnet") == "names and values say raf-db"
    assert told.doubt("raf-db") == "" == evidence("1 2 3").doubt("affectnet")
