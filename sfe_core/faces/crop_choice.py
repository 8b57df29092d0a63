"""The square of a face with regard to the photo it is in, and how much of it lies beyond."""

from __future__ import annotations

import numpy as np

from sfe_core.arrays import Floats
from sfe_core.faces.crop import AS_IS, CENTRE_LIFT, Box, CropTransform, crop_square

# Of a crop of a face that fills its photo, the share beyond the photo that is put up with.
MOST_INVENTED = 0.1


def crop_photo(
    landmarks: Floats,
    box: Box,
    photo: tuple[int, int],
    rule: str = "landmarks",
    scale: float | None = None,
    angle: float = 0.0,
    tight_as_is: bool = True,
) -> tuple[CropTransform, str]:
    """The square of a face in its photo, and the rule that it is by.

    A face that fills its photo was cropped before: by default that photo is taken as it is, since
    any wider square would be filled up with repeated border.

    Args:
        landmarks, box, rule, scale, angle: see `crop_square`.
        photo: its width and height, pixels.
        tight_as_is: take a photo that the face fills by the rule as-is, see `fills_photo`.

    Raises:
        UserError: unknown rule.
    """
    square = crop_square(landmarks, box, rule, scale, angle)
    if rule == AS_IS or (tight_as_is and fills_photo(square, *photo)):
        return crop_as_is(square, landmarks, *photo), AS_IS
    return square, rule


def fills_photo(square: CropTransform, width: int, height: int) -> bool:
    """Whether a rule's square is larger than the photo and lies beyond it by more than a tenth."""
    larger = square.side > min(width, height)
    return larger and invented_share(square, width, height) > MOST_INVENTED


def crop_as_is(square: CropTransform, landmarks: Floats, width: int, height: int) -> CropTransform:
    """A photo as it is: all of one that is square, else the part of it with the face.

    Of an oblong photo that is the square of its shorter side, or where the face is longer than
    that the square of the face, moved along the photo as near to the rule's as it lies within.
    It is turned with the face, about its own middle: by a quarter turn nothing is lost, by others
    the photo's corners are.

    Args:
        square: the rule's, of which the middle counts.
        landmarks: [68, 2] photo pixels.
        width, height: of the photo.
    """
    face = (1 + 2 * CENTRE_LIFT) * float(np.ptp(landmarks, axis=0).max())
    side = float(np.clip(face, min(width, height), max(width, height)))
    x, y = (
        length / 2 if length <= side else float(np.clip(centre, side / 2, length - side / 2))
        for centre, length in ((square.center_x, width), (square.center_y, height))
    )
    return CropTransform(x, y, side, square.angle)


def invented_share(square: CropTransform, width: int, height: int) -> float:
    """The share of a crop, in [0, 1], that lies beyond its photo and is repeated border."""
    if square.angle % 90 == 0:
        low = np.array([square.center_x, square.center_y]) - square.side / 2
        high = np.minimum(low + square.side, (width, height))
        within = np.clip(high - np.maximum(low, 0), 0, square.side) / square.side
        return float(1 - within.prod())
    corners = square.to_photo(np.array([(0, 0), (1, 0), (1, 1), (0, 1)]), 1)
    for axis, limit in ((0, width), (1, height)):
        corners = _cut(corners, axis, 0.0, 1)
        corners = _cut(corners, axis, float(limit), -1)
    x, y = corners.T
    within = abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2 / square.side**2
    return float(np.clip(1 - within, 0, 1).round(9))


def _cut(corners: Floats, axis: int, limit: float, sign: int) -> Floats:
    """The part of a convex polygon [P, 2] on one side of a line (Sutherland and Hodgman 1974)."""
    kept = []
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        before, after = (sign * (point[axis] - limit) for point in (start, end))
        if before >= 0:
            kept.append(start)
        if (before >= 0) != (after >= 0):
            kept.append(start + (end - start) * before / (before - after))
    return np.array(kept).reshape(-1, 2)
