"""The gallery of a split's triptychs: one static page that needs nothing but the PNGs it links."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, select_autoescape
from PIL import Image

from sfe_core.emotions import EMOTIONS
from sfe_core.files import sha256_json, write_text
from sfe_core.sampling.composition import tile_box

UNLABELLED = "unlabelled"
GALLERY_VERSION = 1  # counted up when the page changes, so that old ones are written again
_THUMBNAIL_TILE_PX = 160


@dataclass(frozen=True)
class GalleryItem:
    """One triptych of the page; `record` is what its PNG says of itself."""

    key: str
    emotion: str | None
    caption: str
    record: dict


@dataclass(frozen=True)
class _Entry:
    key: str
    emotion: str
    label: str
    caption: str
    link: str
    thumbnail: str
    width: int
    height: int


def write_gallery(
    folder: Path,
    items: Sequence[GalleryItem],
    title: str,
    subtitle: str,
    headings: tuple[str, ...],
    tile_px: int,
) -> Path:
    """Write `folder/index.html` over the triptychs `folder/<key>.png`; thumbnails are embedded.

    A page that shows the same triptychs already is left alone. Buttons filter by emotion.

    Returns:
        The page's path.
    """
    page = folder / "index.html"
    stamp = sha256_json(
        [GALLERY_VERSION, title, subtitle, headings, tile_px]
        + [[item.key, item.emotion, item.record] for item in items]
    )
    if _stamp_of(page) == stamp:
        return page
    entries = [_entry(folder, item, len(headings), tile_px) for item in items]
    counts = Counter(entry.emotion for entry in entries)
    order = [name for name in (*EMOTIONS, UNLABELLED) if counts[name]]
    environment = Environment(
        loader=PackageLoader("sfe_core.sampling", "templates"), autoescape=select_autoescape(["j2"])
    )
    text = environment.get_template("gallery.html.j2").render(
        title=title,
        subtitle=subtitle,
        stamp=stamp,
        headings=headings,
        emotions=[(name, counts[name]) for name in order],
        entries=entries,
    )
    write_text(page, text)
    return page


def _stamp_of(page: Path) -> str | None:
    try:
        with open(page, encoding="utf-8") as stream:
            head = stream.read(600)
    except (OSError, ValueError):
        return None
    _, found, rest = head.partition('name="sfe-stamp" content="')
    return rest.partition('"')[0] if found else None


def _entry(folder: Path, item: GalleryItem, panels: int, tile_px: int) -> _Entry:
    thumbnail = _thumbnail(folder / f"{item.key}.png", panels, tile_px)
    buffer = io.BytesIO()
    thumbnail.save(buffer, format="JPEG", quality=82)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    emotion = item.emotion or UNLABELLED
    return _Entry(
        key=item.key,
        emotion=emotion,
        # Captions usually begin with the emotion; then it is not said twice.
        label="" if item.caption.lower().startswith(emotion) else emotion,
        caption=item.caption,
        link=quote(f"{item.key}.png"),
        thumbnail=f"data:image/jpeg;base64,{data}",
        width=thumbnail.width,
        height=thumbnail.height,
    )


def _thumbnail(path: Path, panels: int, tile_px: int) -> Image.Image:
    """The triptych's pictures alone, edge to edge: the page says the rest in text."""
    strip = Image.new("RGB", (panels * _THUMBNAIL_TILE_PX, _THUMBNAIL_TILE_PX))
    with Image.open(path) as triptych:
        for index in range(panels):
            tile = triptych.crop(tile_box(index, tile_px))
            tile = tile.resize((_THUMBNAIL_TILE_PX,) * 2, Image.Resampling.LANCZOS)
            strip.paste(tile, (index * _THUMBNAIL_TILE_PX, 0))
    return strip
