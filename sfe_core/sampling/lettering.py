"""Text in any script on a picture: fonts that fall back on each other, shaping and both directions.

matplotlib's FreeType wrapper lays a line out with HarfBuzz and the Unicode bidirectional algorithm,
both inside its wheel from version 3.11 on (an older one joins no Arabic or Indic letters). Pillow's
own layout needs a system library for that, and knows one font at a time.
"""

from __future__ import annotations

import importlib.util
import math
import unicodedata
from collections.abc import Iterable
from functools import cache, lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font
from PIL import Image

# What `sfe[fonts]` installs: Noto Sans for the scripts that DejaVu Sans lacks, and for CJK.
_FONT_PACKAGES = ("manimgx_fonts", "noto_cjk_sans_otc")
_RIGHT_TO_LEFT = ("R", "AL")
_BOX = "\u25a1"  # stands where no font has the character


@cache
def shipped_fonts() -> tuple[str, ...]:
    """Font files that came with pip, in the order in which they are asked for a character.

    DejaVu Sans of matplotlib (Latin, Greek, Cyrillic, Arabic, Hebrew) is always there.
    """
    found = [Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"]
    for package in _FONT_PACKAGES:
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            files = sorted(Path(folder).iterdir())
            found += [file for file in files if file.suffix.lower() in (".ttf", ".otf", ".ttc")]
    return tuple(str(path) for path in found if "Italic" not in path.name)


@lru_cache(maxsize=4096)
def _font_of(character: str) -> str | None:
    """The file of the first font with a glyph for `character`: shipped, else of the system."""
    for path in shipped_fonts():
        if font_manager.get_font([path]).get_char_index(ord(character)):
            return path
    for path in _system_fonts():
        try:
            if font_manager.get_font([path]).get_char_index(ord(character)):
                return path
        except (OSError, RuntimeError):  # a font file that FreeType cannot read
            continue
    return None


@cache
def _system_fonts() -> tuple[str, ...]:
    return tuple(sorted(font_manager.findSystemFonts()))


def _needs_glyph(character: str) -> bool:
    # Spaces, controls, joiners and variation selectors draw nothing of their own.
    kind = unicodedata.category(character)
    return kind[0] != "Z" and kind not in ("Cc", "Cf") and not "\ufe00" <= character <= "\ufe0f"


def missing_glyphs(texts: Iterable[str]) -> list[str]:
    """The characters of `texts`, in order, that no font on this machine can draw."""
    characters = sorted({character for text in texts for character in text})
    return [one for one in characters if _needs_glyph(one) and _font_of(one) is None]


def _laid_out(text: str, size_px: int) -> FT2Font:
    # A glyph that no font has would be warned of at each line; the caller tells of it once.
    text = "".join(_BOX if _needs_glyph(c) and _font_of(c) is None else c for c in text)
    fonts = {_font_of(one) for one in set(text) if _needs_glyph(one)}
    extra = {font for font in fonts if font is not None} - set(shipped_fonts())
    font = font_manager.get_font([*shipped_fonts(), *sorted(extra)])
    font.set_size(size_px, 72)  # 72 dpi: a point is a pixel
    font.set_text(text, 0.0)
    return font


@lru_cache(maxsize=65536)
def text_width(text: str, size_px: int) -> int:
    """Width of one line in pixels, rounded up."""
    return math.ceil(_laid_out(text, size_px).get_width_height()[0] / 64)


@lru_cache(maxsize=64)
def _space_width(size_px: int) -> int:
    return text_width("n n", size_px) - text_width("nn", size_px)


def draw_line(
    canvas: Image.Image,
    position: tuple[float, float],
    text: str,
    size_px: int,
    fill: tuple[int, int, int],
    align: str = "left",
) -> None:
    """Draw one line of text.

    Args:
        canvas: RGB image, drawn upon.
        position: (x, y): y of the middle of a capital letter's height; x of the line's left end,
            middle or right end, as `align` ("left", "center", "right") says.
        size_px: type size.
        fill: colour.
    """
    font = _laid_out(text, size_px)
    font.draw_glyphs_to_bitmap(antialiased=True)
    mask = np.asarray(font.get_image())
    if not mask.size:
        return
    width = font.get_width_height()[0] / 64
    shift = {"left": 0.0, "center": width / 2, "right": width}[align]
    below_px = round(font.get_descent() / 64)
    baseline = position[1] + 0.36 * size_px  # DejaVu's capitals are 0.73 of the type size
    left = position[0] - shift + font.get_bitmap_offset()[0] / 64
    # The bitmap has a spare row above and below.
    corner = (round(left), round(baseline) + below_px + 1 - mask.shape[0])
    canvas.paste(fill, corner, Image.fromarray(mask))


def reads_right_to_left(text: str) -> bool:
    """Whether the first letter with a direction runs from right to left (Unicode UAX 9, P2)."""
    for character in text:
        direction = unicodedata.bidirectional(character)
        if direction == "L" or direction in _RIGHT_TO_LEFT:
            return direction in _RIGHT_TO_LEFT
    return False


def wrap(text: str, size_px: int, width_px: float, most_lines: int = 8) -> list[str]:
    """Lines of `text`, none wider than `width_px` pixels; beyond `most_lines` an ellipsis.

    Words are kept whole unless one alone is wider than a line. Between Chinese, Japanese and Korean
    characters a line may end anywhere but before closing punctuation.
    """
    lines: list[str] = []
    line, used = "", 0
    for piece, spaced in _pieces(text, size_px, width_px):
        gap = _space_width(size_px) if spaced and line else 0
        width = text_width(piece, size_px)
        if line and used + gap + width > width_px:
            lines.append(line)
            line, used, gap = "", 0, 0
        line += (" " if gap else "") + piece
        used += gap + width
    if line:
        lines.append(line)
    if len(lines) > most_lines:
        lines = lines[:most_lines]
        last = lines[-1]
        while last and text_width(last + " …", size_px) > width_px:
            last = last[:-1]
        lines[-1] = last.rstrip() + " …"
    return lines


def _pieces(text: str, size_px: int, width_px: float) -> Iterable[tuple[str, bool]]:
    """What a line may be broken between, and whether a space stands before each."""
    for word in text.split():
        spaced = True
        for part in _breakable(word):
            for piece in _fitting(part, size_px, width_px):
                yield piece, spaced
                spaced = False


def _breakable(word: str) -> list[str]:
    """A word's parts: East Asian wide characters stand alone, with what must not be parted."""
    parts: list[str] = []
    for cluster in _clusters(word):
        closing = unicodedata.category(cluster[0]) in ("Pe", "Pf", "Po", "Lm")
        opened = bool(parts) and unicodedata.category(parts[-1][-1]) in ("Ps", "Pi")
        wide = unicodedata.east_asian_width(cluster[0]) in "WF"
        after_wide = bool(parts) and unicodedata.east_asian_width(parts[-1][-1]) in "WF"
        if parts and (closing or opened or not (wide or after_wide)):
            parts[-1] += cluster
        else:
            parts.append(cluster)
    return parts


def _clusters(word: str) -> list[str]:
    """Characters with the marks that belong to them."""
    clusters: list[str] = []
    for character in word:
        joined = bool(clusters) and clusters[-1][-1] == "\u200d"
        if clusters and (joined or unicodedata.category(character)[0] in "MC"):
            clusters[-1] += character
        else:
            clusters.append(character)
    return clusters


def _fitting(part: str, size_px: int, width_px: float) -> list[str]:
    """Pieces of a part, each within the width (or a single character)."""
    if text_width(part, size_px) <= width_px:
        return [part]
    pieces, piece = [], ""
    for cluster in _clusters(part):
        if piece and text_width(piece + cluster, size_px) > width_px:
            pieces.append(piece)
            piece = ""
        piece += cluster
    return [*pieces, piece]
