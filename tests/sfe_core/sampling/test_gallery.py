from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest
from PIL import Image

from sfe_core.sampling.composition import Panel, compose_triptych
from sfe_core.sampling.gallery import GalleryItem, write_gallery
from sfe_core.sampling.pngs import save_png

HEADINGS = ("Original", "Base", "Fine-tuned")


def make_items(folder: Path) -> list[GalleryItem]:
    items = []
    facts = [("a b/ünï#1", "happy", "happy <b>&"), ("c", "anger", "anger"), ("d", None, "")]
    for key, emotion, caption in facts:
        panels = tuple(Panel(name, Image.new("RGB", (8, 8), (200, 0, 0))) for name in HEADINGS)
        record = {"key": key, "caption": caption}
        save_png(compose_triptych(panels, caption, 64), folder / f"{key}.png", record)
        items.append(GalleryItem(key, emotion, caption, record))
    return items


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return write_gallery(tmp_path, make_items(tmp_path), "T", "S", HEADINGS, 64)


def test_every_link_leads_to_a_triptych(page: Path):
    links = re.findall(r'<a href="([^"]+)"', page.read_text(encoding="utf-8"))
    assert len(links) == 3
    assert all((page.parent / unquote(link)).is_file() for link in links)


def test_the_page_needs_nothing_from_elsewhere(page: Path):
    text = page.read_text(encoding="utf-8")
    sources = re.findall(r'(?:src|srcset)="([^"]+)"', text)
    assert len(sources) == 3
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert "<link" not in text and "@import" not in text and "http" not in text


def test_thumbnails_hold_the_pictures_without_margins(page: Path):
    source = re.search(r'src="data:image/jpeg;base64,([^"]+)"', page.read_text(encoding="utf-8"))
    thumbnail = Image.open(io.BytesIO(base64.b64decode(source[1])))
    red, green, blue = thumbnail.convert("RGB").split()
    assert thumbnail.size == (480, 160)
    assert red.getextrema()[0] > 190 and green.getextrema()[1] < 10 and blue.getextrema()[1] < 10


def test_filters_count_each_emotion_in_order_and_text_is_escaped(page: Path):
    text = page.read_text(encoding="utf-8")
    buttons = re.findall(r'<button[^>]*data-emotion="(\w*)"[^>]*>\w+ <small>(\d+)', text)
    assert buttons == [("", "3"), ("happy", "1"), ("anger", "1"), ("unlabelled", "1")]
    assert "happy &lt;b&gt;&amp;" in text
    assert len(re.findall(r'<figure data-emotion="anger"', text)) == 1


def test_a_page_is_written_again_only_when_what_it_shows_changed(tmp_path: Path):
    items = make_items(tmp_path)
    page = write_gallery(tmp_path, items, "T", "S", HEADINGS, 64)
    before, stamp = page.read_bytes(), page.stat().st_mtime_ns
    write_gallery(tmp_path, items, "T", "S", HEADINGS, 64)
    assert page.stat().st_mtime_ns == stamp
    write_gallery(tmp_path, items[:2], "T", "S", HEADINGS, 64)
    assert page.read_bytes() != before
    write_gallery(tmp_path, items, "T", "S", HEADINGS, 64)
    assert page.read_bytes() == before


def test_faults_are_shown_counted_and_can_be_chosen(tmp_path: Path):
    first, *others = make_items(tmp_path)
    faulty = replace(first, faults=("original missing", "base picture blank"))
    page = write_gallery(tmp_path, [faulty, *others], "T", "S", HEADINGS, 64)
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"with a fault <small>(\d+)", text) == ["1"]
    assert text.count("<figure") == 3
    assert len(re.findall(r"<figure[^>]* data-faulty>", text)) == 1
    assert "original missing, base picture blank" in text
    whole = write_gallery(tmp_path, [first, *others], "T", "S", HEADINGS, 64)
    assert "with a fault" not in whole.read_text(encoding="utf-8")


def test_contact_sheets_are_linked(tmp_path: Path):
    items = make_items(tmp_path)
    sheets = {"happy": [tmp_path / "contact_sheets/happy.jpg", tmp_path / "contact_sheets/a b.jpg"]}
    page = write_gallery(tmp_path, items, "T", "S", HEADINGS, 64, sheets)
    links = re.findall(r'<a href="(contact_sheets[^"]+)">([^<]+)<', page.read_text("utf-8"))
    assert links == [("contact_sheets/happy.jpg", "happy"), ("contact_sheets/a%20b.jpg", "happy 2")]
