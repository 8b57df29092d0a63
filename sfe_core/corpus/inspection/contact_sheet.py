"""Contact sheets: many faces, or many photos, in one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont, ImageOps

from sfe_core.corpus.inspection.face_tiles import TILE_NAMES, face_tiles
from sfe_core.corpus.picture_store import PictureStore
from sfe_core.errors import SfeError
from sfe_core.faces.decoding import UndecodableError, decode_photo

TILE = 96
COLUMNS = 10
_GAP = 2
_LINE = 14
_PAPER, _INK, _NOTHING = (255, 255, 255), (30, 30, 30), (225, 225, 225)


def spread(keys: Sequence[str], count: int = COLUMNS) -> list[str]:
    """At most `count` of `keys`, evenly spread over their order by name."""
    ordered = sorted(keys)
    taken = min(count, len(ordered))
    return [ordered[place * len(ordered) // taken] for place in range(taken)]


def face_sheet(
    store: PictureStore, rows: Sequence[Mapping[str, Any]], notes: Sequence[str] = ()
) -> Image.Image:
    """Faces side by side, each a column: crop, landmarks, depth, mesh, and a line of text.

    Args:
        store: where the pictures are read from.
        rows: manifest rows of faces with pictures; at least one.
        notes: a line for each, or none at all.
    """
    height = len(TILE_NAMES) * (TILE + _GAP) + (_LINE if notes else 0)
    sheet = Image.new("RGB", (len(rows) * (TILE + _GAP), height), _PAPER)
    for column, row in enumerate(rows):
        try:
            tiles = face_tiles(store, row, TILE)
        except (SfeError, OSError, SyntaxError):
            tiles = [_blank("no picture")] * len(TILE_NAMES)
        for line, tile in enumerate(tiles):
            sheet.paste(tile, (column * (TILE + _GAP), line * (TILE + _GAP)))
    _write_notes(sheet, notes, height - _LINE)
    return sheet


def photo_sheet(
    photos: Path, names: Sequence[str], max_megapixels: float, notes: Sequence[str] = ()
) -> Image.Image:
    """Whole photos side by side; those that cannot be decoded are grey tiles that say why.

    Args:
        photos: the photos folder.
        names: paths below it; at least one.
        max_megapixels: larger photos are not decoded.
        notes: a line for each, or none at all.
    """
    height = TILE + _GAP + (_LINE if notes else 0)
    sheet = Image.new("RGB", (len(names) * (TILE + _GAP), height), _PAPER)
    for column, name in enumerate(names):
        sheet.paste(_thumbnail(photos / name, max_megapixels), (column * (TILE + _GAP), 0))
    _write_notes(sheet, notes, height - _LINE)
    return sheet


def _thumbnail(path: Path, max_megapixels: float) -> Image.Image:
    try:
        photo = Image.fromarray(decode_photo(path.read_bytes(), max_megapixels))
    except (OSError, ValueError):  # gone, or a name that no file can have
        return _blank("no file")
    except UndecodableError as error:
        return _blank(error.status)
    return ImageOps.pad(photo, (TILE, TILE), Image.Resampling.LANCZOS, color=_NOTHING)


def _blank(text: str) -> Image.Image:
    tile = Image.new("RGB", (TILE, TILE), _NOTHING)
    ImageDraw.Draw(tile).text((TILE / 2, TILE / 2), text, _INK, _font(), anchor="mm")
    return tile


def _write_notes(sheet: Image.Image, notes: Sequence[str], top: int) -> None:
    pen = ImageDraw.Draw(sheet)
    for column, note in enumerate(notes):
        middle = column * (TILE + _GAP) + TILE / 2
        pen.text((middle, top + _LINE / 2), note, _INK, _font(), anchor="mm")


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(11)
