"""Brow landmarks moved onto the brows that are really there.

The 68-point cascade follows its training faces: raised or slanted brows, the very sign of
surprise, fear and sadness, it hardly reports. A brow, though, is plain to see: a dark band between
lighter skin. Here the best such band is traced over each eye, by dynamic programming as in active
contours (Amini, Weymouth and Jain, "Using dynamic programming for solving variational problems in
vision", PAMI 12(9), 1990), and the five points are moved up or down onto it. Where no band stands
out (fair brows, a fringe, dark glasses) the cascade's points stay.
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy.ndimage import map_coordinates

from sfe_core.arrays import Floats, Integers, Pixels

# (brow points from the temple or nose inwards in iBUG order, upper-lid points of the eye below)
_BROWS: tuple[tuple[slice, tuple[int, int]], ...] = (
    (slice(17, 22), (37, 38)),
    (slice(22, 27), (43, 44)),
)
# All lengths are shares of the distance between the outer eye corners.
_STEP = 0.006
_LOWEST_ABOVE_LID = 0.045
_HIGHEST = 0.5
# Thin and bushy brows: half the band, the gap to the skin beside it and how much skin, in steps.
_BANDS = ((3, 2, 4), (6, 3, 6))
_LEAST_ROWS = 24
_COLUMNS = 25
_MOST_SLOPE = 2  # steps per column
_SLOPE_COST = 0.02
_DISTANCE_COST = 0.25  # of lying _REACH away from the cascade's point, over the best contrast
_REACH = 0.12
_LEAST_CONTRAST = 0.035  # of full scale; weaker bands are not trusted
_UPPER_EDGE = 0.02  # the landmarks run along the brow's upper edge, not its middle


def refine_brows(image: Pixels, landmarks: Floats) -> Floats:
    """Move the ten brow points along the face's vertical onto the dark bands over the eyes.

    Args:
        image: [H, W, 3] uint8; the face's outer eye corners should lie 60 pixels apart or more.
        landmarks: [68, 2] pixels of it, pixel centres at .5.

    Returns:
        A new [68, 2]; equal to `landmarks` where a brow does not stand out.
    """
    across = landmarks[45] - landmarks[36]
    unit = float(np.linalg.norm(across))
    if unit < 1.0:
        return landmarks.copy()
    right = across / unit
    up = np.array([right[1], -right[0]])
    origin = (landmarks[45] + landmarks[36]) / 2
    grey = np.asarray(Image.fromarray(image).convert("L"))
    refined = landmarks.copy()
    for brow, lid in _BROWS:
        local = (landmarks - origin) @ np.stack([right, up], axis=1) / unit
        x, height = local[brow].T
        columns = np.linspace(x[0], x[-1], _COLUMNS)
        lowest = local[list(lid), 1].mean() + _LOWEST_ABOVE_LID
        heights = np.arange(lowest, _HIGHEST, _STEP)
        if len(heights) < _LEAST_ROWS:
            continue
        places = origin + unit * (
            columns[None, :, None] * right + heights[:, None, None] * up
        )  # [rows, columns, 2]
        pixels = (places[..., 1] - 0.5, places[..., 0] - 0.5)
        skin = map_coordinates(grey, pixels, np.float32, order=1, mode="nearest") / 255.0
        found = _trace(skin, heights, np.interp(columns, x, height))
        if found is not None:
            moved = np.polyval(np.polyfit(columns, found, 3), x) + _UPPER_EDGE
            refined[brow] = landmarks[brow] + ((moved - height) * unit)[:, None] * up
    return refined


def _trace(skin: Floats, heights: Floats, expected: Floats) -> Floats | None:
    """Height of the dark band in every column [C], or None where none stands out.

    Args:
        skin: [R, C] brightness in [0, 1], rows upwards.
        heights: [R] of the rows.
        expected: [C] where the cascade has the brow.
    """
    contrast = _band_contrast(skin)
    best = float(np.median(contrast.max(axis=0)))
    if best < _LEAST_CONTRAST:
        return None
    far = ((heights[:, None] - expected) / _REACH) ** 2
    gain = contrast / best - _DISTANCE_COST * far
    rows, count = gain.shape
    total = gain[:, 0].copy()
    came_from = np.zeros((count, rows), dtype=np.int64)
    steps = np.arange(-_MOST_SLOPE, _MOST_SLOPE + 1)
    origins = np.clip(np.arange(rows)[:, None] + steps, 0, rows - 1)
    for column in range(1, count):
        options = total[origins] - _SLOPE_COST * np.abs(steps)
        choice = options.argmax(axis=1)
        came_from[column] = origins[np.arange(rows), choice]
        total = options[np.arange(rows), choice] + gain[:, column]
    path = np.empty(count, dtype=np.int64)
    path[-1] = total.argmax()
    for column in range(count - 1, 0, -1):
        path[column - 1] = came_from[column, path[column]]
    if np.median(contrast[path, np.arange(count)]) < _LEAST_CONTRAST:
        return None
    return heights[path]


def _band_contrast(skin: Floats) -> Floats:
    """How much darker a band round each row is than the skin on either side of it [R, C]."""
    summed = np.concatenate([np.zeros((1, skin.shape[1])), np.cumsum(skin, axis=0)])
    rows = np.arange(skin.shape[0])

    def mean(first: Integers, last: Integers) -> Floats:
        first, last = first.clip(0, len(rows) - 1), last.clip(0, len(rows) - 1)
        return (summed[last + 1] - summed[first]) / (last - first + 1)[:, None]

    contrasts = []
    for half, gap, flank in _BANDS:
        near, far = half + gap, half + gap + flank
        below, above = mean(rows - far, rows - near), mean(rows + near, rows + far)
        contrast = np.minimum(below, above) - mean(rows - half, rows + half)
        # Rows without skin on both sides tell nothing.
        contrast[:near] = contrast[-near:] = -1.0
        contrasts.append(contrast)
    return np.maximum(*contrasts)
