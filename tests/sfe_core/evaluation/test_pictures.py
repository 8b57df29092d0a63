"""Folders of pictures made elsewhere: found by key, brought to one size, told where they fail."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sfe_core.errors import UserError
from sfe_core.evaluation.pictures import DrawnPictures, GivenPictures

KEYS = ["a/one", "a/two.5", "b/one", "b/three"]


def save(path: Path, size: tuple[int, int] = (40, 40), seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_pictures_are_found_by_key_flattened_key_or_lone_name(tmp_path: Path):
    whole = save(tmp_path / "a" / "one.jpg")
    flat = save(tmp_path / "a_two.5.PNG")
    alone = save(tmp_path / "elsewhere" / "three.webp")
    save(tmp_path / "elsewhere" / "one.png")  # two keys end so: it is neither's
    found = GivenPictures(tmp_path, KEYS)
    assert [found.path(key) for key in KEYS] == [whole, flat, tmp_path / "b/one.png", alone]
    assert (found.matched, found.unused) == (3, 1)
    assert found.picture("b/one", 32).fault == "missing"
    assert found.fingerprint("b/one") == "missing" and len(found.fingerprint("a/one")) == 64


def test_mixed_sizes_are_brought_to_one_and_never_squashed(tmp_path: Path):
    striped = np.zeros((30, 60, 3), np.uint8)
    striped[:, 15:45] = 255  # the central square is white
    striped[0, 15] = 0
    Image.fromarray(striped).save(tmp_path / "wide.png")
    image = DrawnPictures(tmp_path).picture("wide", 20).image
    assert image.shape == (3, 20, 20)
    assert image[:, 2:-2, 2:-2].min() > 0.99
    save(tmp_path / "tall.png", (8, 90))
    assert DrawnPictures(tmp_path).picture("tall", 20).image.shape == (3, 20, 20)


def test_greyscale_and_transparent_pictures_are_read(tmp_path: Path):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 9, 4), dtype=np.uint8)
    Image.fromarray(pixels, "RGBA").save(tmp_path / "x.png")
    Image.fromarray(pixels[..., 0], "L").save(tmp_path / "y.png")
    for key in ("x", "y"):
        assert DrawnPictures(tmp_path).picture(key, 9).image.shape == (3, 9, 9)


def test_faults_are_named(tmp_path: Path):
    (tmp_path / "torn.png").write_bytes(save(tmp_path / "good.png").read_bytes()[:99])
    (tmp_path / "empty.png").write_bytes(b"")
    Image.new("RGB", (9, 9)).save(tmp_path / "black.png")
    pictures = DrawnPictures(tmp_path)
    faults = [pictures.picture(key, 16).fault for key in ("good", "torn", "empty", "black", "none")]
    assert faults == ["", "unreadable", "unreadable", "blank", "missing"]


def test_a_folder_without_any_picture_of_the_split_is_the_users_error(tmp_path: Path):
    with pytest.raises(UserError, match="is not a folder"):
        GivenPictures(tmp_path / "nowhere", KEYS)
    save(tmp_path / "other.png")
    with pytest.raises(UserError, match=r"none of its 1 pictures .* a/one\.png"):
        GivenPictures(tmp_path, KEYS)
