from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sfe_core.sampling.pngs import read_record, read_remarks, save_png

RECORD = {"key": "ünï/1", "prompt": "happy, 顔", "seed": 2**62}


def test_a_record_comes_back_and_the_same_picture_is_the_same_bytes(tmp_path: Path):
    picture = Image.new("RGB", (16, 16), (1, 2, 3))
    for name in ("a", "b"):
        save_png(picture, tmp_path / "new" / f"{name}.png", RECORD)
    first, second = (tmp_path / "new" / f"{name}.png" for name in ("a", "b"))
    assert read_record(first) == RECORD
    assert first.read_bytes() == second.read_bytes()
    assert sorted(path.name for path in first.parent.iterdir()) == ["a.png", "b.png"]


@pytest.mark.parametrize("kept", [0, 5, 40, -1])
def test_a_torn_file_has_no_record(tmp_path: Path, kept: int):
    path = tmp_path / "a.png"
    save_png(Image.new("RGB", (16, 16)), path, RECORD)
    path.write_bytes(path.read_bytes()[:kept])
    assert read_record(path) is None


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("limit", [200, 100])  # beyond it PIL warns, beyond twice it refuses
def test_a_picture_larger_than_pil_likes_has_its_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
):
    save_png(Image.new("RGB", (16, 16)), tmp_path / "a.png", RECORD)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    assert read_record(tmp_path / "a.png") == RECORD
    assert limit == Image.MAX_IMAGE_PIXELS


def test_missing_and_foreign_files_have_no_record(tmp_path: Path):
    Image.new("RGB", (16, 16)).save(tmp_path / "foreign.png")
    assert read_record(tmp_path / "foreign.png") is None
    assert read_record(tmp_path / "none.png") is None


def test_a_picture_damaged_in_its_middle_has_no_record(tmp_path: Path):
    path = tmp_path / "a.png"
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    save_png(Image.fromarray(noise), path, RECORD)
    whole = path.read_bytes()
    for place in (len(whole) // 2, len(whole) - 20):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        assert read_record(path) is None


def test_remarks_are_kept_beside_the_record(tmp_path: Path):
    save_png(Image.new("RGB", (4, 4)), tmp_path / "a.png", RECORD, {"blank": True})
    save_png(Image.new("RGB", (4, 4)), tmp_path / "b.png", RECORD)
    assert read_record(tmp_path / "a.png") == read_record(tmp_path / "b.png") == RECORD
    assert read_remarks(tmp_path / "a.png") == {"blank": True}
    assert read_remarks(tmp_path / "b.png") == read_remarks(tmp_path / "none.png") == {}
