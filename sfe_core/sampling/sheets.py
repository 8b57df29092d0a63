"""The pictures of a request on one sheet, and a sweep as a moving picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from sfe_core.files import atomic_path
from sfe_core.sampling.composition import as_tile
from sfe_core.sampling.lettering import draw_line, wrap

_COLUMNS = 4
_LEAST_PX = 96  # smaller pictures are shown enlarged, or their headings would not fit
_PAPER, _INK, _FAINT_INK = (255, 255, 255), (24, 24, 27), (113, 113, 122)
_FRAME_MS = 400

Tile = tuple[str, Image.Image]


def compose_grid(tiles: Sequence[Tile], caption: str, columns: int | None = None) -> Image.Image:
    """Lay pictures out in rows, the caption underneath.

    Args:
        tiles: heading and picture, in order; pictures of one square size.
        caption: what they share.
        columns: pictures in a row; None = four, or five where that makes one row.

    Returns:
        An RGB image on white.
    """
    side = max(_LEAST_PX, tiles[0][1].width)
    if columns is None:
        columns = len(tiles) if len(tiles) <= _COLUMNS + 1 else _COLUMNS
    rows = math.ceil(len(tiles) / columns)
    type_px = max(11, round(side * 0.05))
    gap, heading = max(4, side // 48), round(type_px * 1.8)
    width = gap + columns * (side + gap)
    lines = wrap(caption, type_px, width - 2 * gap)
    line_height = round(type_px * 1.5)
    top_of_caption = gap + rows * (heading + side + gap)
    height = top_of_caption + len(lines) * line_height + gap
    sheet = Image.new("RGB", (width, height), _PAPER)
    for place, (label, picture) in enumerate(tiles):
        left = gap + place % columns * (side + gap)
        top = gap + place // columns * (heading + side + gap)
        draw_line(sheet, (left, top + heading / 2), label, type_px, _INK)
        sheet.paste(as_tile(picture, side), (left, top + heading))
    for number, line in enumerate(lines):
        middle = top_of_caption + (number + 0.5) * line_height
        draw_line(sheet, (gap, middle), line, type_px, _FAINT_INK)
    return sheet


def save_animation(path: Path, frames: Sequence[Sequence[Tile]], there_and_back: bool) -> None:
    """An animated WebP that runs for ever, its tiles side by side in each frame.

    Args:
        frames: the tiles of each, as many in one as in another.
        there_and_back: whether it returns over the same frames, or begins again.
    """
    drawn = [compose_grid(tiles, "", len(tiles)) for tiles in frames]
    if there_and_back:
        drawn += drawn[-2:0:-1]
    with atomic_path(path) as partial:
        drawn[0].save(
            partial,
            format="WEBP",
            save_all=True,
            append_images=drawn[1:],
            duration=_FRAME_MS,
            loop=0,
            quality=90,
        )
