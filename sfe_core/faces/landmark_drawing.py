"""The 68 landmarks as a picture: points and lines, one fixed colour per part of the face."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from sfe_core.arrays import Floats, Pixels

Colour = tuple[int, int, int]

# The parts of the iBUG 68-point scheme: first and last point, whether the line closes, colour.
# (Sagonas et al., "300 Faces in-the-Wild Challenge", ICCV Workshops 2013, figure 1.)
PARTS: dict[str, tuple[int, int, bool, Colour]] = {
    "jaw": (0, 16, False, (255, 255, 255)),
    "right_brow": (17, 21, False, (255, 160, 0)),
    "left_brow": (22, 26, False, (255, 230, 0)),
    "nose_ridge": (27, 30, False, (0, 110, 255)),
    "nose_base": (31, 35, False, (0, 200, 255)),
    "right_eye": (36, 41, True, (0, 230, 60)),
    "left_eye": (42, 47, True, (170, 255, 60)),
    "outer_lip": (48, 59, True, (255, 40, 40)),
    "inner_lip": (60, 67, True, (255, 90, 200)),
}

# Index of each landmark's mirror image.
MIRROR = np.array(
    [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31,
     45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
     54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
)  # fmt: skip

_OVERSAMPLING = 4


def draw_landmarks(points: Floats, size: int, background: Pixels | None = None) -> Pixels:
    """Draw the landmarks, antialiased; widths follow the size, so the map looks alike at any.

    Args:
        points: [68, 2] x, y in pixels of the picture, edges at 0 and `size`; may lie outside.
        size: side of the picture.
        background: [size, size, 3] uint8 to draw over; None means black.

    Returns:
        [size, size, 3] uint8 RGB.
    """
    fine = size * _OVERSAMPLING
    drawn = Image.new("RGB", (fine, fine))
    cover = Image.new("L", (fine, fine))
    pens = (ImageDraw.Draw(drawn), ImageDraw.Draw(cover))
    width = max(1, round(fine / 110))
    radius = fine / 110
    # PIL's drawing puts pixel centres at whole numbers, this project at .5.
    scaled = np.asarray(points, float) * _OVERSAMPLING - 0.5
    for first, last, closed, colour in PARTS.values():
        part = [(float(x), float(y)) for x, y in scaled[first : last + 1]]
        line = part + part[:1] if closed else part
        for pen, ink in zip(pens, (colour, (255,)), strict=True):
            pen.line(line, fill=ink, width=width)
            for x, y in part:
                pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=ink)
    small = [np.asarray(layer.reduce(_OVERSAMPLING), np.float32) for layer in (drawn, cover)]
    if background is None:
        return small[0].round().astype(np.uint8)
    # `drawn` is black outside the lines, so it is already multiplied by the coverage.
    rest = background.astype(np.float32) * (1.0 - small[1][..., None] / 255.0)
    return (small[0] + rest).round().clip(0, 255).astype(np.uint8)
