"""The contact sheet: what preprocessing made of a few photos, to be judged by eye."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sfe_core.corpus.inspection.face_tiles import TILE_NAMES, face_tiles
from sfe_core.corpus.manifest import crop_of
from sfe_core.corpus.picture_store import FolderStore
from sfe_core.faces.crop import CropTransform
from sfe_core.faces.decoding import UndecodableError, decode_photo
from sfe_core.faces.head import ACTION_NAMES
from sfe_core.files import atomic_path

_TILE = 160
_GAP = 4
_TEXT = 190
_HEADER = 20
_MOST_ROWS = 16
_TITLES = ("photo", *TILE_NAMES)
_INK, _PAPER, _FRAME = (30, 30, 30), (255, 255, 255), (255, 60, 60)


def choose_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """At most 16 rows, evenly spread over the keys within each emotion, emotions taking turns."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: row["key"]):
        groups.setdefault(row.get("emotion") or "", []).append(row)
    share = max(1, -(-_MOST_ROWS // max(1, len(groups))))
    spread = [
        [
            group[place * len(group) // min(share, len(group))]
            for place in range(min(share, len(group)))
        ]
        for _, group in sorted(groups.items())
    ]
    turns = [group[turn] for turn in range(share) for group in spread if turn < len(group)]
    return turns[:_MOST_ROWS]


def write_preview(
    target: Path, corpus: Path, photos: Path, rows: list[dict[str, Any]], max_megapixels: float
) -> None:
    """Write the sheet: photo with the crop's frame, crop, landmarks over it, depth, mesh, labels.

    Args:
        target: the PNG.
        corpus, photos: the folders.
        rows: manifest rows of status ok, as plain dicts; at least one.
        max_megapixels: as in sfe.yaml.
    """
    chosen = choose_rows(rows)
    width = len(_TITLES) * (_TILE + _GAP) + _TEXT
    sheet = Image.new("RGB", (width, _HEADER + len(chosen) * (_TILE + _GAP)), _PAPER)
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(12)
    for column, title in enumerate(_TITLES):
        pen.text((column * (_TILE + _GAP) + 4, 3), title, _INK, font)
    for number, row in enumerate(chosen):
        top = _HEADER + number * (_TILE + _GAP)
        for column, tile in enumerate(_tiles(corpus, photos, row, max_megapixels)):
            sheet.paste(tile, (column * (_TILE + _GAP), top))
        text = "\n".join(_lines(row))
        pen.multiline_text(
            (len(_TITLES) * (_TILE + _GAP) + 4, top + 2), text, _INK, font, spacing=3
        )
    with atomic_path(target) as partial:
        sheet.save(partial)


def _tiles(
    corpus: Path, photos: Path, row: dict[str, Any], max_megapixels: float
) -> list[Image.Image]:
    photo = _framed_photo(photos / row["photo"], crop_of(row), max_megapixels)
    return [photo, *face_tiles(FolderStore(corpus), row, _TILE)]


def _framed_photo(path: Path, transform: CropTransform, max_megapixels: float) -> Image.Image:
    """The photo fitted into a tile, with the crop's square drawn on it; grey if it is gone."""
    tile = Image.new("RGB", (_TILE, _TILE), (225, 225, 225))
    try:
        photo = Image.fromarray(decode_photo(path.read_bytes(), max_megapixels))
    except (OSError, UndecodableError):
        return tile
    zoom = _TILE / max(photo.size)
    width, height = (max(1, round(side * zoom)) for side in photo.size)
    offset = ((_TILE - width) // 2, (_TILE - height) // 2)
    tile.paste(photo.resize((width, height), Image.Resampling.LANCZOS), offset)
    corners = transform.to_photo(np.array([(0, 0), (1, 0), (1, 1), (0, 1)]), 1) * zoom + offset
    ImageDraw.Draw(tile).polygon([tuple(corner) for corner in corners], outline=_FRAME)
    return tile


def _lines(row: dict[str, Any]) -> list[str]:
    """The labels beside a row's pictures."""
    # Only the head fitted to the landmarks has facial actions with names.
    named = zip(row.get("actions") or (), ACTION_NAMES, strict=False)
    strongest = sorted(named, reverse=True)[:4]
    affect = [
        f"{name} {row[name]:+.2f}"
        for name in ("valence", "arousal")
        if row.get(name) is not None and not np.isnan(row[name])
    ]
    return [
        _short(row["key"], 28),
        row.get("emotion") or "no emotion label",
        ", ".join(affect) or "no valence, arousal",
        f"split {row.get('split') or '-'}",
        *_fitted(row),
        *(f"{name} {value:.2f}" for value, name in strongest if value > 0.05),
    ]


def _fitted(row: dict[str, Any]) -> list[str]:
    """Pose and error of the reconstruction, as far as it gives them."""
    lines = []
    if row.get("yaw") is not None:
        lines.append(f"yaw {row['yaw']:+.0f}°, pitch {row['pitch']:+.0f}°")
    if row.get("fit_error") is not None:
        lines.append(f"fit error {100 * row['fit_error']:.1f} % of eye distance")
    return lines


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else "…" + text[-length + 1 :]
