"""Random pictures of each set one below the other, the same people and emotions in each column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sfe_core.evaluation.pictures import PictureSet
from sfe_core.files import atomic_path

COLUMNS, MARGIN, LINE = 12, 74, 18


def picture_rows(
    sets: Mapping[str, PictureSet], keys: Sequence[str], titles: Sequence[str], side: int, to: Path
) -> None:
    """Write a PNG: `COLUMNS` pictures a line, a line of each set, then the next pictures.

    Args:
        sets: title → pictures, from top to bottom.
        keys: of the pictures.
        titles: [len(keys)] above each column.
        side: of a picture, pixels.
        to: the file.
    """
    blocks = [
        range(start, min(start + COLUMNS, len(keys))) for start in range(0, len(keys), COLUMNS)
    ]
    height = LINE + len(sets) * side
    columns = min(COLUMNS, len(keys))
    sheet = Image.new("RGB", (MARGIN + columns * side, len(blocks) * height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for number, block in enumerate(blocks):
        top = number * height
        for column, place in enumerate(block):
            draw.text((MARGIN + column * side + 2, top + 2), titles[place], "black", font)
        for row, (title, pictures) in enumerate(sets.items()):
            y = top + LINE + row * side
            draw.text((2, y + side // 2 - 6), title, "black", font)
            for column, place in enumerate(block):
                image = pictures.picture(keys[place], side).image
                if image is not None:
                    pixels = ((image.permute(1, 2, 0).numpy() + 1.0) * 127.5).round()
                    tile = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
                    sheet.paste(tile, (MARGIN + column * side, y))
    to.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(to) as partial:
        sheet.save(partial, format="PNG", optimize=True)
