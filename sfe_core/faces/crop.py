"""The square cut round a face, and the way back into the photo."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.floating[Any]]
Pixels = NDArray[np.uint8]

# The 68 points end at the brows: the crop's centre lies this share of their extent above theirs,
# so that the forehead is in.
CENTRE_LIFT = 0.1


@dataclass(frozen=True)
class CropTransform:
    """An upright square in a photo, in photo pixels; pixel centres are at .5."""

    center_x: float
    center_y: float
    side: float

    @property
    def corner(self) -> Floats:
        """Left and top edge, [2]."""
        return np.array([self.center_x, self.center_y]) - self.side / 2

    def to_crop(self, points: Floats, size: int) -> Floats:
        """Photo points [..., 2] in pixels of a crop of `size`."""
        return (np.asarray(points) - self.corner) * (size / self.side)

    def to_photo(self, points: Floats, size: int) -> Floats:
        """Points [..., 2] of a crop of `size` pixels, in photo pixels."""
        return np.asarray(points) * (self.side / size) + self.corner


def crop_around(landmarks: Floats, scale: float) -> CropTransform:
    """The square for 68 landmarks [68, 2]: its side is `scale` times their larger extent."""
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    extent = float((high - low).max())
    x, y = (low + high) / 2
    return CropTransform(float(x), float(y) - CENTRE_LIFT * extent, scale * extent)


def crop(image: Pixels, transform: CropTransform, size: int) -> Pixels:
    """Cut and resize, antialiased (Lanczos); beyond the photo its border pixels are repeated.

    Args:
        image: [H, W, 3] uint8.
        transform: the square.
        size: side of the result, pixels.

    Returns:
        [size, size, 3] uint8.
    """
    left, top = transform.corner
    right, bottom = left + transform.side, top + transform.side
    # A margin feeds the resampling kernel at the crop's edge with what really lies beyond.
    margin = math.ceil(3 * max(1.0, transform.side / size))
    x0, y0 = math.floor(left) - margin, math.floor(top) - margin
    columns = np.arange(x0, math.ceil(right) + margin).clip(0, image.shape[1] - 1)
    rows = np.arange(y0, math.ceil(bottom) + margin).clip(0, image.shape[0] - 1)
    window = Image.fromarray(np.ascontiguousarray(image[rows[:, None], columns[None, :]]))
    box = (left - x0, top - y0, right - x0, bottom - y0)
    return np.asarray(window.resize((size, size), Image.Resampling.LANCZOS, box=box))


def paste(
    canvas: Pixels, picture: Pixels, transform: CropTransform, mask: NDArray[np.bool_] | None = None
) -> Pixels:
    """Lay a crop-sized picture back on its place in the photo.

    Args:
        canvas: [H, W, 3] uint8, left as it is.
        picture: [S, S, 3] uint8, what belongs into the square.
        transform: the square.
        mask: [S, S] True where the picture covers the canvas; None means everywhere.

    Returns:
        A new [H, W, 3] uint8.
    """
    size = picture.shape[0]
    side = max(1, round(transform.side))
    cover = np.full((size, size), 255, np.uint8) if mask is None else mask.astype(np.uint8) * 255
    layers = [Image.fromarray(np.ascontiguousarray(layer)) for layer in (picture, cover)]
    if side < size:  # shrink first: the affine resampling below does not antialias
        layers = [layer.resize((side, side), Image.Resampling.BOX) for layer in layers]
    step = layers[0].width / transform.side
    left, top = transform.corner
    x0, y0 = max(0, math.floor(left)), max(0, math.floor(top))
    x1 = min(canvas.shape[1], math.ceil(left + transform.side))
    y1 = min(canvas.shape[0], math.ceil(top + transform.side))
    result = canvas.copy()
    if x1 <= x0 or y1 <= y0:
        return result
    matrix = (step, 0.0, (x0 - left) * step, 0.0, step, (y0 - top) * step)
    placed, alpha = (
        np.asarray(
            layer.transform(
                (x1 - x0, y1 - y0), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
            ),
            np.float32,
        )
        for layer in layers
    )
    alpha = alpha[..., None] / 255.0
    below = result[y0:y1, x0:x1].astype(np.float32)
    result[y0:y1, x0:x1] = (alpha * placed + (1.0 - alpha) * below).round().astype(np.uint8)
    return result
