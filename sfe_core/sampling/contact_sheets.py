"""Contact sheets: all triptychs of one emotion on one page, to look through and to send."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from sfe_core.emotions import EMOTIONS
from sfe_core.files import atomic_path, sha256_json
from sfe_core.sampling.gallery import UNLABELLED, GalleryItem, thumbnail_strip
from sfe_core.sampling.lettering import draw_line, text_width

FOLDER = "contact_sheets"
SHEETS_VERSION = 1  # counted up when the drawing changes, so that old sheets are drawn again
COLUMNS, ROWS = 3, 20
_TILE_PX, _GAP, _TEXT_PX, _HEADER_PX = 128, 8, 11, 40
_LINE_PX = 18
_PAPER, _INK, _FAINT_INK = (255, 255, 255), (24, 24, 27), (113, 113, 122)


def write_contact_sheets(
    folder: Path, items: Sequence[GalleryItem], headings: tuple[str, ...], tile_px: int
) -> dict[str, list[Path]]:
    """Write `folder/contact_sheets/<emotion>.jpg` (and `-2.jpg` and so on) over the triptychs.

    A sheet that shows the same triptychs already is left alone; sheets of before that show none of
    them are deleted.

    Returns:
        Emotion to its sheets, emotions in their usual order, unlabelled last.
    """
    sheets: dict[str, list[Path]] = {}
    page_size = COLUMNS * ROWS
    for emotion in (*EMOTIONS, UNLABELLED):
        chosen = [item for item in items if (item.emotion or UNLABELLED) == emotion]
        for page, start in enumerate(range(0, len(chosen), page_size), start=1):
            target = folder / FOLDER / (f"{emotion}-{page}.jpg" if page > 1 else f"{emotion}.jpg")
            shown = chosen[start : start + page_size]
            title = f"{emotion} · {start + 1} to {start + len(shown)} of {len(chosen)}"
            _write_sheet(target, folder, shown, title, headings, tile_px)
            sheets.setdefault(emotion, []).append(target)
    written = {path for paths in sheets.values() for path in paths}
    for old in (folder / FOLDER).glob("*.jpg"):
        if old not in written:
            old.unlink()
    return sheets


def _write_sheet(
    target: Path,
    folder: Path,
    items: Sequence[GalleryItem],
    title: str,
    headings: tuple[str, ...],
    tile_px: int,
) -> None:
    shown = [[item.key, item.record] for item in items]
    stamp = sha256_json([SHEETS_VERSION, title, headings, tile_px, shown])
    if _stamp_of(target) == stamp:
        return
    cell_width, cell_height = len(headings) * _TILE_PX + _GAP, _TILE_PX + _LINE_PX + _GAP
    columns, rows = min(COLUMNS, len(items)), -(-len(items) // COLUMNS)
    size = (_GAP + columns * cell_width, _HEADER_PX + rows * cell_height)
    sheet = Image.new("RGB", size, _PAPER)
    draw_line(sheet, (_GAP, _HEADER_PX / 2), title, 16, _INK)
    note = " | ".join(headings)
    if text_width(title, 16) + text_width(note, _TEXT_PX) + 4 * _GAP < size[0]:
        draw_line(sheet, (size[0] - _GAP, _HEADER_PX / 2), note, _TEXT_PX, _FAINT_INK, "right")
    for place, item in enumerate(items):
        left = _GAP + place % COLUMNS * cell_width
        top = _HEADER_PX + place // COLUMNS * cell_height
        strip = thumbnail_strip(folder / f"{item.key}.png", len(headings), tile_px, _TILE_PX)
        sheet.paste(strip, (left, top))
        label = _shortened(item.key, cell_width - _GAP)
        draw_line(sheet, (left, top + _TILE_PX + _LINE_PX / 2), label, _TEXT_PX, _FAINT_INK)
    with atomic_path(target) as partial:
        sheet.save(partial, format="JPEG", quality=88, comment=stamp)


def _stamp_of(path: Path) -> str | None:
    try:
        with Image.open(path, formats=["JPEG"]) as sheet:
            return sheet.info.get("comment", b"").decode("ascii")
    except (OSError, ValueError, SyntaxError):
        return None


def _shortened(key: str, width_px: int) -> str:
    """The key, its beginning left out where it is wider: file names differ at their ends."""
    if text_width(key, _TEXT_PX) <= width_px:
        return key
    while key and text_width("…" + key, _TEXT_PX) > width_px:
        key = key[1:]
    return "…" + key
