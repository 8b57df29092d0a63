"""Three pictures side by side with headings, and the caption wrapped below."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image, ImageOps

from sfe_core.sampling.lettering import draw_line, reads_right_to_left, wrap

LAYOUT_VERSION = 2  # counted up when the drawing below changes, so that old files are redrawn

_PAPER = (255, 255, 255)
_INK = (24, 24, 27)
_FAINT_INK = (113, 113, 122)
_BLANK = (228, 228, 231)


@dataclass(frozen=True)
class Panel:
    """One of the three pictures: an RGB image of any square size, or None with what is missing."""

    heading: str
    picture: Image.Image | None
    absent: str = ""


def blank_tile(size_px: int, label: str) -> Image.Image:
    """A grey square that says what is missing, in the place of a picture."""
    tile = Image.new("RGB", (size_px, size_px), _BLANK)
    type_px = _heading_px(size_px)
    lines = wrap(label, type_px, size_px * 0.85)
    for number, line in enumerate(lines):
        middle = size_px / 2 + (number - (len(lines) - 1) / 2) * 1.4 * type_px
        draw_line(tile, (size_px / 2, middle), line, type_px, _FAINT_INK, "center")
    return tile


def _heading_px(tile_px: int) -> int:
    return max(9, round(tile_px * 0.045))


def _heading_height(tile_px: int) -> int:
    return round(_heading_px(tile_px) * 1.7)


def as_tile(picture: Image.Image, size_px: int) -> Image.Image:
    """The picture as an RGB square of `size_px` pixels, resampled with Lanczos where it differs.

    One that is not square is shown whole, between grey margins.
    """
    picture = picture.convert("RGB")
    if picture.size == (size_px, size_px):
        return picture
    return ImageOps.pad(picture, (size_px, size_px), Image.Resampling.LANCZOS, color=_BLANK)


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
    heading_px, caption_px = _heading_px(tile_px), max(9, round(tile_px * 0.042))
    heading_height = _heading_height(tile_px)
    line_height = round(caption_px * 1.5)  # Khmer and Myanmar stack signs
    width = 2 * margin + len(panels) * tile_px + (len(panels) - 1) * gap
    lines = wrap(caption, caption_px, width - 2 * margin)
    top = margin + heading_height
    caption_top = top + tile_px + 2 * gap
    height = caption_top + len(lines) * line_height + margin

    canvas = Image.new("RGB", (width, height), _PAPER)
    for index, panel in enumerate(panels):
        left = margin + index * (tile_px + gap)
        middle = margin + heading_height / 2 - gap / 2
        draw_line(canvas, (left, middle), panel.heading, heading_px, _FAINT_INK)
        if panel.picture is None:
            canvas.paste(blank_tile(tile_px, panel.absent or "missing"), (left, top))
        else:
            canvas.paste(as_tile(panel.picture, tile_px), (left, top))
    align = "right" if reads_right_to_left(caption) else "left"
    edge = width - margin if align == "right" else margin
    for number, line in enumerate(lines):
        middle = caption_top + (number + 0.5) * line_height
        draw_line(canvas, (edge, middle), line, caption_px, _INK, align)
    return canvas


def tile_box(index: int, tile_px: int) -> tuple[int, int, int, int]:
    """Where the picture of panel `index` lies in a composed triptych: left, top, right, bottom."""
    gap = max(2, tile_px // 64)
    left = 2 * gap + index * (tile_px + gap)
    top = 2 * gap + _heading_height(tile_px)
    return left, top, left + tile_px, top + tile_px
