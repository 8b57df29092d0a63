"""Copies: which are found, and that other photos of the same person are not taken for one."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sfe_core.corpus.people.duplicates import HashedFace, find_duplicates, near_pairs
from sfe_core.corpus.people.face_hash import BITS, LIKENESS, face_hash, mirrored, unpacked
from sfe_core.faces.backends import load_detector
from sfe_core.faces.crop import crop as crop_out
from sfe_core.faces.crop import crop_square
from sfe_core.synthesis.render import render_face
from sfe_core.synthesis.spec import sample_face
from tests.cases.copies import COPIES, save_copy
from tests.cases.portraits import portrait


def hash_of(picture: Image.Image) -> str:
    """As preprocess has it."""
    pixels = np.asarray(picture.convert("RGB"))
    face = _detector().detect(pixels)[0]
    transform = crop_square(face.landmarks, face.box)
    crop = crop_out(pixels, transform, 256)
    return face_hash(crop, transform.to_crop(face.landmarks, 256))


@lru_cache(maxsize=1)
def _detector():
    return load_detector("dlib", 32)


@lru_cache(maxsize=8)
def original(person: int) -> str:
    return hash_of(portrait(person))


def difference(one: str, other: str) -> float:
    """Share of the bits that differ, the face as it is or mirrored."""
    bits = unpacked([one, other])
    either = [bits[1], mirrored(bits[1:])[0]]
    return min(float((bits[0] != some).mean()) for some in either)


@pytest.mark.parametrize("kind", COPIES)
@pytest.mark.parametrize("person", [0, 3])
def test_a_copy_is_found(kind: str, person: int, tmp_path: Path) -> None:
    with Image.open(save_copy(kind, person, tmp_path)) as copy:
        assert difference(hash_of(copy), original(person)) <= LIKENESS


def test_another_expression_in_the_same_scene_is_no_copy() -> None:
    scene = sample_face(0, "neutral", 0)
    happy = replace(scene, expression=sample_face(0, "happy", 0).expression)
    assert difference(hash_of(Image.fromarray(render_face(happy, 256).image)), original(0)) > 0.1


def test_another_person_in_the_same_scene_is_no_copy() -> None:
    scene = sample_face(0, "neutral", 0)
    other = replace(scene, person=sample_face(1, "neutral", 5).person)
    assert difference(hash_of(Image.fromarray(render_face(other, 256).image)), original(0)) > 0.1


def test_nothing_to_see_has_no_hash() -> None:
    points = np.random.default_rng(0).uniform(0, 64, (68, 2))
    assert face_hash(np.full((64, 64, 3), 7, np.uint8), points) == ""
    assert face_hash(np.zeros((64, 64, 3), np.uint8), np.zeros((68, 2))) == ""


def random_hashes(count: int, seed: int = 0) -> np.ndarray:
    bits = np.random.default_rng(seed).integers(0, 2, (count, BITS), np.uint8)
    bits[:, 0] = 0
    return bits


def as_text(bits: np.ndarray) -> list[str]:
    return [row.tobytes().hex() for row in np.packbits(bits, axis=1)]


def test_near_pairs_are_those_that_comparing_all_finds() -> None:
    bits = random_hashes(2000)
    rng = np.random.default_rng(1)
    for place in range(300):  # copies of the first, a third of them mirrored
        copy = bits[place].copy()
        copy[rng.choice(np.arange(1, BITS), rng.integers(0, 45), replace=False)] ^= 1
        bits[1000 + place] = mirrored(copy[None])[0] if place % 3 == 0 else copy
    every = np.concatenate([bits, mirrored(bits)]).astype(int)
    products = (2 * every[:2000] - 1) @ (2 * every - 1).T
    one, other = np.nonzero((BITS - products) / 2 <= int(LIKENESS * BITS))
    expected = {tuple(sorted((a, b % 2000))) for a, b in zip(one, other, strict=True)}
    expected = {pair for pair in expected if pair[0] != pair[1]}
    found = {tuple(pair) for pair in near_pairs(as_text(bits)).tolist() if pair[0] != pair[1]}
    assert len(expected) > 150
    assert found == expected


def test_groups_hold_bytes_and_looks_together() -> None:
    bits = random_hashes(3)
    hashes = as_text(bits)
    faces = [
        HashedFace("b", 1, "one", hashes[0]),
        HashedFace("a", 1, "one", hashes[0]),
        HashedFace("c", 1, "two", hashes[0]),
        HashedFace("d", 1, "three", hashes[1]),
        HashedFace("e", 1, "four", ""),
        HashedFace("f", 1, "four", ""),
        HashedFace("f#2", 2, "four", hashes[2]),
    ]
    near = find_duplicates(faces)
    assert near.groups == (("a", "b", "c"), ("e", "f"))
    assert (near.copies, near.exact) == (3, 2)
    assert near.first("c") == "a" and near.first("a") is None and near.first("d") is None
    assert find_duplicates(faces, "exact").groups == (("a", "b"), ("e", "f"))
    assert find_duplicates(faces, "none").groups == ()


def test_the_shortest_name_is_the_original() -> None:
    faces = [HashedFace(key, 1, "same", "") for key in ("copy of x", "x (1)", "x")]
    assert find_duplicates(faces).groups == (("x", "x (1)", "copy of x"),)


def test_copies_with_two_labels_are_told() -> None:
    faces = [HashedFace(key, 1, sha, "") for key, sha in zip("abcd", "xxyy", strict=True)]
    found = find_duplicates(faces)
    labels = {"a": "happy", "b": "sad", "c": "fear", "d": None}
    assert found.contradictions(labels) == ["a happy, b sad"]
    assert found.contradictions({"a": "happy", "b": "happy"}) == []


@pytest.mark.slow
def test_a_long_video_is_one_group() -> None:
    bits = np.repeat(random_hashes(1), 3000, axis=0)
    bits ^= np.random.default_rng(2).random(bits.shape) < 0.01
    faces = [HashedFace(f"{n:05d}", 1, "", text) for n, text in enumerate(as_text(bits))]
    assert [len(group) for group in find_duplicates(faces).groups] == [3000]
