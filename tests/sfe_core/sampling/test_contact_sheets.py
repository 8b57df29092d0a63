from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sfe_core.sampling import contact_sheets as module
from sfe_core.sampling.composition import Panel, compose_triptych
from sfe_core.sampling.contact_sheets import write_contact_sheets
from sfe_core.sampling.gallery import GalleryItem
from sfe_core.sampling.pngs import save_png

HEADINGS = ("Original", "Base", "Fine-tuned")
COLOURS = ((200, 0, 0), (0, 160, 0), (0, 0, 220))


def make_items(folder: Path, emotions: list[str | None]) -> list[GalleryItem]:
    items = []
    for number, emotion in enumerate(emotions):
        key, record = f"id {number // 4}/häppy.{number}", {"number": number}
        panels = tuple(
            Panel(name, Image.new("RGB", (8, 8), colour))
            for name, colour in zip(HEADINGS, COLOURS, strict=True)
        )
        save_png(compose_triptych(panels, "", 64), folder / f"{key}.png", record)
        items.append(GalleryItem(key, emotion, "", record))
    return items


def test_each_emotion_has_its_sheet_in_the_usual_order(tmp_path: Path):
    items = make_items(tmp_path, ["anger", None, "neutral", "anger"])
    sheets = write_contact_sheets(tmp_path, items, HEADINGS, 64)
    assert list(sheets) == ["neutral", "anger", "unlabelled"]
    names = [path.name for paths in sheets.values() for path in paths]
    assert names == ["neutral.jpg", "anger.jpg", "unlabelled.jpg"]
    one, two = (Image.open(sheets[name][0]) for name in ("neutral", "anger"))
    assert two.width > 1.8 * one.width and two.height == one.height


def test_a_sheet_shows_the_pictures_of_each_triptych(tmp_path: Path):
    items = make_items(tmp_path, ["happy"] * 5)
    sheet = np.asarray(Image.open(write_contact_sheets(tmp_path, items, HEADINGS, 64)["happy"][0]))
    for colour in COLOURS:
        close = (np.abs(sheet.astype(int) - colour) < 25).all(axis=2)
        assert close.sum() == pytest.approx(5 * 128 * 128, rel=0.05)
    # Below each stands its name.
    assert (sheet < 160).all(axis=2).sum() > 100


def test_many_triptychs_take_several_sheets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "ROWS", 1)
    items = make_items(tmp_path, ["happy"] * 7)
    pages = write_contact_sheets(tmp_path, items, HEADINGS, 64)["happy"]
    assert [page.name for page in pages] == ["happy.jpg", "happy-2.jpg", "happy-3.jpg"]
    assert all(page.is_file() for page in pages)


def test_only_what_changed_is_written_and_what_is_gone_deleted(tmp_path: Path):
    items = make_items(tmp_path, ["happy", "sad", "happy"])
    first = write_contact_sheets(tmp_path, items, HEADINGS, 64)
    stamps = {path: path.stat().st_mtime_ns for paths in first.values() for path in paths}
    assert write_contact_sheets(tmp_path, items, HEADINGS, 64) == first
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    write_contact_sheets(tmp_path, items[:1], HEADINGS, 64)
    assert first["happy"][0].stat().st_mtime_ns != stamps[first["happy"][0]]
    assert not first["sad"][0].exists()
    assert (tmp_path / f"{items[1].key}.png").is_file()


def test_a_torn_sheet_is_written_again(tmp_path: Path):
    items = make_items(tmp_path, ["happy"])
    path = write_contact_sheets(tmp_path, items, HEADINGS, 64)["happy"][0]
    whole = path.read_bytes()
    path.write_bytes(b"")
    write_contact_sheets(tmp_path, items, HEADINGS, 64)
    assert path.read_bytes() == whole


def test_long_keys_lose_their_beginnings():
    shortened = module._shortened("a" * 300 + "/name.png", 200)
    assert shortened.startswith("…a") and shortened.endswith("/name.png")
    assert module.text_width(shortened, 11) <= 200
