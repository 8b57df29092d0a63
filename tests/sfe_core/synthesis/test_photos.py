"""The folder `synthesize` writes: plan, labels, captions, and the same bytes for the same seed."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sfe_core.controls.facial_actions import SIDED_UNITS, UNITS
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError
from sfe_core.synthesis.captions import caption
from sfe_core.synthesis.photos import (
    LABEL_COLUMNS,
    SIDE_COLUMNS,
    plan_photos,
    synthesize,
    synthesize_albums,
)
from sfe_core.synthesis.spec import sample_face


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_same_seed_same_bytes_whatever_the_workers(tmp_path: Path) -> None:
    for name, workers, seed in (("one", 1, 3), ("two", 2, 3), ("other", 1, 4)):
        assert synthesize(tmp_path / name, 10, seed, 48, workers=workers) == 10
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert contents(tmp_path / "one") != contents(tmp_path / "other")


def test_files_labels_and_captions_agree(tmp_path: Path) -> None:
    synthesize(tmp_path, 16, 1, 40, expressions_per_identity=4, identity_range=(100, 110))
    photos = tmp_path / "photos"
    with (photos / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    captions = json.loads((photos / "captions.json").read_text(encoding="utf-8"))
    assert tuple(rows[0]) == LABEL_COLUMNS and set(captions) == {row["key"] for row in rows}
    for row in rows:
        with Image.open(photos / f"{row['key']}.jpg") as image:
            assert image.size == (40, 40) and image.mode == "RGB"
        assert row["key"].startswith(f"{int(row['identity']):04d}/")
        assert 100 <= int(row["identity"]) < 110
        assert captions[row["key"]].startswith(row["emotion"].capitalize() + ", ")
        assert all(0 <= float(row[unit]) <= 5 for unit in UNITS)
        spec = sample_face(int(row["seed"]), row["emotion"], int(row["identity"]))
        assert float(row["valence"]) == spec.expression.valence
        assert float(row["yaw"]) == pytest.approx(spec.scene.yaw, abs=0.006)
    assert not list(tmp_path.rglob(".sfe-partial-*"))


def test_units_at_random_are_labelled_for_each_side(tmp_path: Path) -> None:
    synthesize(tmp_path, 6, 1, 32, random_units=True)
    photos = tmp_path / "photos"
    with (photos / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == LABEL_COLUMNS + SIDE_COLUMNS
    captions = json.loads((photos / "captions.json").read_text(encoding="utf-8"))
    apart = 0.0
    for row in rows:
        spec = sample_face(int(row["seed"]), None, int(row["identity"]), random_units=True)
        left, right = (
            dict(zip(UNITS, half, strict=True)) for half in spec.expression.units_of_sides
        )
        sides = {name: float(row[name]) for name in SIDE_COLUMNS}
        assert sides == {n: (left if n[-1] == "L" else right)[n[:-1]] for n in SIDE_COLUMNS}
        assert all(float(row[unit]) == left[unit] for unit in set(UNITS) - SIDED_UNITS)
        apart = max(apart, *(abs(left[unit] - right[unit]) for unit in SIDED_UNITS))
        assert row["emotion"] == row["valence"] == row["arousal"] == ""
        assert not captions[row["key"]].startswith(tuple(name.capitalize() for name in EMOTIONS))
    assert apart > 1


def test_balanced_plan_has_equal_emotions_and_unique_keys() -> None:
    plans = plan_photos(200, 0, expressions_per_identity=3, identity_range=(0, 5))
    assert set(Counter(plan.emotion for plan in plans).values()) == {200 // len(EMOTIONS)}
    assert len({plan.key for plan in plans}) == 200
    assert len({plan.seed for plan in plans}) == 200
    assert {plan.identity for plan in plans} == set(range(5))


def test_longer_plan_begins_with_the_shorter_one() -> None:
    assert plan_photos(50, 9)[:20] == plan_photos(20, 9)


def test_unbalanced_plan_leaves_the_emotion_to_the_photo_seed() -> None:
    assert {plan.emotion for plan in plan_photos(5, 0, balanced=False)} == {None}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"count": 0}, "count 0"),
        ({"identity_range": (5, 5)}, "5:5"),
        ({"identity_range": (0, 9999)}, "0:9999"),
        ({"size_px": 8}, "8 px"),
        ({"expressions_per_identity": 0}, "0 photos per identity"),
    ],
)
def test_mistakes_are_named_and_nothing_is_written(tmp_path: Path, arguments, said: str) -> None:
    with pytest.raises(UserError, match=said):
        synthesize(**({"folder": tmp_path, "count": 2} | arguments))
    assert not list(tmp_path.iterdir())


def test_captions_name_the_emotion_only_when_asked() -> None:
    words = {emotion.lower() for emotion in EMOTIONS}
    for seed in range(40):
        spec = sample_face(seed)
        plain = caption(spec, False, np.random.default_rng(seed))
        named = caption(spec, True, np.random.default_rng(seed))
        assert not words & set(plain.lower().replace(",", "").split())
        assert named == f"{spec.emotion.capitalize()}, {plain[0].lower()}{plain[1:]}"
        assert ("woman" in plain) != spec.person.male


def test_albums_show_their_expressions_in_turn_and_tell_nothing(tmp_path):
    words = synthesize_albums(tmp_path, (3584, 3587), 3, ("neutral", "happy"), size_px=48)
    assert words == {"3584": "woman", "3587": "man"}
    made = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.*"))
    assert made == [f"photos/{who}/00{n}.jpg" for who in words for n in range(3)]
    first = (tmp_path / "photos/3584/000.jpg").read_bytes()
    synthesize_albums(tmp_path / "again", (3584,), 1, ("neutral", "happy"), size_px=48)
    assert (tmp_path / "again/photos/3584/000.jpg").read_bytes() == first
    synthesize_albums(tmp_path / "sad", (3584,), 1, ("sad",), size_px=48)
    assert (tmp_path / "sad/photos/3584/000.jpg").read_bytes() != first


def test_an_album_of_an_unknown_expression_is_refused(tmp_path):
    with pytest.raises(UserError, match="emotions"):
        synthesize_albums(tmp_path, (3584,), 1, ("bored",))
    assert not list(tmp_path.iterdir())
