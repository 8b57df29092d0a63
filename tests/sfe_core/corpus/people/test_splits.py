"""Splits: sizes, strata, identities, and that they stay put."""

from __future__ import annotations

from collections import Counter

import pytest

from sfe_core.corpus.people.splits import SplitItem, assign_splits, held_out_count
from sfe_core.emotions import EMOTIONS


def faces(identities: int, per_identity: int) -> list[SplitItem]:
    return [
        SplitItem(f"{who}/{shot}", str(who), EMOTIONS[(who + shot) % 8])
        for who in range(identities)
        for shot in range(per_identity)
    ]


@pytest.mark.parametrize(
    ("total", "count", "expected"), [(4000, 300, 300), (100, 300, 15), (2, 300, 1), (1, 300, 0)]
)
def test_size(total: int, count: int, expected: int) -> None:
    assert held_out_count(total, count, 0.15) == expected


def test_exact_size_and_even_strata_where_nothing_ties() -> None:
    items = [SplitItem(str(n), None, EMOTIONS[n % 8]) for n in range(800)]
    splits = assign_splits(items, "val", 96, 0.5)
    held = Counter(item.emotion for item in items if splits[item.key] == "val")
    assert held == dict.fromkeys(EMOTIONS, 12)


def test_rare_emotions_are_held_out_in_proportion() -> None:
    items = [SplitItem(str(n), None, "happy" if n % 10 else "fear") for n in range(1000)]
    splits = assign_splits(items, "val", 100, 0.5)
    held = Counter(item.emotion for item in items if splits[item.key] == "val")
    assert held == {"happy": 90, "fear": 10}


def test_identities_never_stand_on_both_sides() -> None:
    items = faces(40, 5)
    splits = assign_splits(items, "val", 300, 0.15)
    sides: dict[str | None, set[str]] = {}
    for item in items:
        sides.setdefault(item.identity, set()).add(splits[item.key])
    assert all(len(found) == 1 for found in sides.values())
    held = sum(split == "val" for split in splits.values())
    assert 20 <= held <= 30


def test_order_plays_no_part_and_names_do() -> None:
    items = faces(30, 4)
    splits = assign_splits(items, "val", 300, 0.2)
    assert assign_splits(items[::-1], "val", 300, 0.2) == splits
    assert assign_splits(items, "other", 300, 0.2) != splits


def test_more_photos_move_few_of_the_others() -> None:
    items = [SplitItem(str(n), None, None) for n in range(400)]
    before = assign_splits(items[:390], "val", 300, 0.15)
    after = assign_splits(items, "val", 300, 0.15)
    assert sum(before[key] != after[key] for key in before) <= 4


def test_two_people_suffice_and_one_does_not() -> None:
    assert Counter(assign_splits(faces(2, 8), "val", 300, 0.15).values()) == {"train": 8, "val": 8}
    assert set(assign_splits(faces(1, 8), "val", 300, 0.15).values()) == {"train"}
    assert assign_splits([], "val", 300, 0.15) == {}


def test_faces_of_one_photo_stand_on_one_side() -> None:
    items = [
        SplitItem(f"{n}{face}", None, EMOTIONS[n % 8])
        for n in range(60)
        for face in ("", "#2", "#3")
    ]
    splits = assign_splits(items, "val", 300, 0.2)
    sides = [{splits[f"{n}{face}"] for face in ("", "#2", "#3")} for n in range(60)]
    assert all(len(side) == 1 for side in sides)
    assert {"train", "val"} == set().union(*sides)
