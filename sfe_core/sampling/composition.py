"""Three pictures side by side with headings, and the caption wrapped below: pure PIL."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

LAYOUT_VERSION = 1  # counted up when the drawing below changes, so that old files are redrawn

_PAPER = (255, 255, 255)
_INK = (24, 24, 27)
_FAINT_INK = (113, 113, 122)
_BLANK = (228, 228, 231)
_MAX_CAPTION_LINES = 8


@dataclass(frozen=True)
class Panel:
    """One of the three pictures: an RGB image of any square size, or None with what is missing."""

    heading: str
    picture: Image.Image | None
    absent: str = ""


@cache
def _font(size_px: int) -> ImageFont.FreeTypeFont:
    # DejaVu Sans comes with matplotlib: Latin, Greek, Cyrillic, Arabic, Hebrew on any machine.
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(path), size_px, layout_engine=ImageFont.Layout.BASIC)


def _break_word(word: str, font: ImageFont.FreeTypeFont, width_px: float) -> list[str]:
    """Pieces of a word, each within the width (or a single character)."""
    pieces, piece = [], ""
    for character in word:
        if piece and font.getlength(piece + character) > width_px:
            pieces.append(piece)
            piece = ""
        piece += character
    return [*pieces, piece]


def wrap(text: str, font: ImageFont.FreeTypeFont, width_px: float) -> list[str]:
    """Lines of `text`, none wider than `width_px` pixels; at most 8, the rest an ellipsis.

    Words are kept whole unless one alone is wider than a line.
    """
    lines: list[str] = []
    line = ""
    for word in text.split():
        joined = f"{line} {word}" if line else word
        if font.getlength(joined) <= width_px:
            line = joined
            continue
        if line:
            lines.append(line)
        *whole, line = _break_word(word, font, width_px)
        lines.extend(whole)
    if line:
        lines.append(line)
    if len(lines) > _MAX_CAPTION_LINES:
        lines = lines[:_MAX_CAPTION_LINES]
        last = lines[-1]
        while last and font.getlength(last + " …") > width_px:
            last = last[:-1]
        lines[-1] = last.rstrip() + " …"
    return lines


def blank_tile(size_px: int, label: str) -> Image.Image:
    """A grey square that says what is missing, in the place of a picture."""
    tile = Image.new("RGB", (size_px, size_px), _BLANK)
    font = _font(max(9, round(size_px * 0.045)))
    lines = wrap(label, font, size_px * 0.85)
    ImageDraw.Draw(tile).multiline_text(
        (size_px / 2, size_px / 2),
        "\n".join(lines),
        fill=_FAINT_INK,
        font=font,
        anchor="mm",
        align="center",
    )
    return tile


def as_tile(picture: Image.Image, size_px: int) -> Image.Image:
    """The picture as an RGB square of `size_px` pixels, resampled with Lanczos where it differs."""
    picture = picture.convert("RGB")
    if picture.size == (size_px, size_px):
        return picture
    return picture.resize((size_px, size_px), Image.Resampling.LANCZOS)


def compose_triptych(panels: tuple[Panel, ...], caption: str, tile_px: int) -> Image.Image:
    """Panels in a row, each `tile_px` square below its heading, with the caption underneath.

    Args:
        panels: from left to right; a panel without picture becomes a labelled blank tile.
        caption: wrapped over the whole width; the picture grows with the number of lines.
        tile_px: side of each picture, pixels. Margins and type scale with it.

    Returns:
        An RGB image, white around the tiles.
    """
    gap = max(2, tile_px // 64)
    margin = 2 * gap
    heading_font = _font(max(9, round(tile_px * 0.045)))
    caption_font = _font(max(9, round(tile_px * 0.042)))
    heading_height = round(heading_font.size * 1.7)
    line_height = round(caption_font.size * 1.4)
    width = 2 * margin + len(panels) * tile_px + (len(panels) - 1) * gap
    lines = wrap(caption, caption_font, width - 2 * margin)
    top = margin + heading_height
    caption_top = top + tile_px + 2 * gap
    height = caption_top + len(lines) * line_height + margin

    canvas = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(canvas)
    for index, panel in enumerate(panels):
        left = margin + index * (tile_px + gap)
        draw.text(
            (left, margin + heading_height / 2 - gap / 2),
            panel.heading,
            fill=_FAINT_INK,
            font=heading_font,
            anchor="lm",
        )
        if panel.picture is None:
            canvas.paste(blank_tile(tile_px, panel.absent or "missing"), (left, top))
        else:
            canvas.paste(as_tile(panel.picture, tile_px), (left, top))
    for number, line in enumerate(lines):
        draw.text((margin, caption_top + number * line_height), line, fill=_INK, font=caption_font)
    return canvas


def tile_box(index: int, tile_px: int) -> tuple[int, int, int, int]:
    """Where the picture of panel `index` lies in a composed triptych: left, top, right, bottom."""
    gap = max(2, tile_px // 64)
    left = 2 * gap + index * (tile_px + gap)
    top = 2 * gap + round(_font(max(9, round(tile_px * 0.045))).size * 1.7)
    return left, top, left + tile_px, top + tile_px
