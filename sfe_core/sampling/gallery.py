"""The gallery of a split's triptychs: one static page that needs nothing but the PNGs it links."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, select_autoescape
from PIL import Image

from sfe_core.emotions import EMOTIONS
from sfe_core.files import sha256_json, write_text
from sfe_core.sampling.composition import tile_box

UNLABELLED = "unlabelled"
GALLERY_VERSION = 2  # counted up when the page changes, so that old ones are written again
_THUMBNAIL_PX = 160


@dataclass(frozen=True)
class GalleryItem:
    """One triptych of the page.

    Args:
        record: what its PNG says of itself.
        faults: what is wrong with its pictures, e.g. "original missing".
    """

    key: str
    emotion: str | None
    caption: str
    record: dict
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Entry:
    key: str
    emotion: str
    label: str
    caption: str
    faults: str
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
    sheets: Mapping[str, Sequence[Path]] | None = None,
) -> Path:
    """Write `folder/index.html` over the triptychs `folder/<key>.png`; thumbnails are embedded.

    A page that shows the same triptychs already is left alone. Buttons filter by emotion, and
    choose those with a fault.

    Args:
        sheets: emotion to its contact sheets below `folder`, to link to.

    Returns:
        The page's path.
    """
    page = folder / "index.html"
    linked = {
        emotion: [quote(path.relative_to(folder).as_posix()) for path in paths]
        for emotion, paths in (sheets or {}).items()
    }
    stamp = sha256_json(
        [GALLERY_VERSION, title, subtitle, headings, tile_px, linked]
        + [[item.key, item.emotion, item.record, item.faults] for item in items]
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
        faulty=sum(bool(entry.faults) for entry in entries),
        sheets=linked,
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
    thumbnail = thumbnail_strip(folder / f"{item.key}.png", panels, tile_px, _THUMBNAIL_PX)
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
        faults=", ".join(item.faults),
        link=quote(f"{item.key}.png"),
        thumbnail=f"data:image/jpeg;base64,{data}",
        width=thumbnail.width,
        height=thumbnail.height,
    )


def thumbnail_strip(triptych: Path, panels: int, tile_px: int, side_px: int) -> Image.Image:
    """The pictures of a composed triptych alone, edge to edge, each `side_px` square.

    Args:
        triptych: PNG file as `compose_triptych` drew it.
        panels: how many pictures it has.
        tile_px: their side in it.
    """
    strip = Image.new("RGB", (panels * side_px, side_px))
    with Image.open(triptych) as composed:
        for index in range(panels):
            tile = composed.crop(tile_box(index, tile_px))
            tile = tile.resize((side_px, side_px), Image.Resampling.LANCZOS)
            strip.paste(tile, (index * side_px, 0))
    return strip
