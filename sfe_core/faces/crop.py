"""The square cut round a face by one of the field's rules, and the way back into the photo."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sfe_core.errors import UserError

Floats = NDArray[np.floating[Any]]
Pixels = NDArray[np.uint8]
Box = tuple[float, float, float, float]  # left, top, right, bottom, photo pixels

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


def crop_emoca(landmarks: Floats, scale: float) -> CropTransform:
    """EMOCA's and DECA's square for 68 landmarks [68, 2], their box type `kpt68`.

    The mean of the landmarks' width and height, times 1.1, times `scale` (1.25 there), round the
    middle of their box.
    """
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    x, y = (low + high) / 2
    return CropTransform(float(x), float(y), float((high - low).mean()) * 1.1 * scale)


def crop_emoca_bbox(box: Box, scale: float) -> CropTransform:
    """EMOCA's and DECA's square for a detector's box, their box type `bbox`.

    The mean of its width and height times `scale` (1.25 there), the centre shifted down by 0.12
    of that mean, because such boxes reach further up than the landmarks.
    """
    left, top, right, bottom = box
    mean = (right - left + bottom - top) / 2
    return CropTransform((left + right) / 2, (top + bottom) / 2 + 0.12 * mean, mean * scale)


def crop_face_alignment(box: Box, scale: float) -> CropTransform:
    """The square face-alignment shows its network, from a detector's box.

    Its side is the sum of width and height over 195, times 200, times `scale` (1 there); the
    centre lies 0.12 of the height above the box's.
    """
    left, top, right, bottom = box
    side = (right - left + bottom - top) / 195.0 * 200.0
    y = (top + bottom) / 2 - 0.12 * (bottom - top)
    return CropTransform((left + right) / 2, y, side * scale)


@dataclass(frozen=True)
class CropRule:
    """How a face's square is found, and the scale that goes with it."""

    scale: float
    square: Callable[[Floats, Box, float], CropTransform]  # of landmarks [68, 2], box, scale


CROP_RULES: dict[str, CropRule] = {
    "landmarks": CropRule(1.5, lambda landmarks, _, scale: crop_around(landmarks, scale)),
    "emoca": CropRule(1.25, lambda landmarks, _, scale: crop_emoca(landmarks, scale)),
    "emoca-bbox": CropRule(1.25, lambda _, box, scale: crop_emoca_bbox(box, scale)),
    "face-alignment": CropRule(1.0, lambda _, box, scale: crop_face_alignment(box, scale)),
}


def crop_square(
    landmarks: Floats, box: Box, rule: str = "landmarks", scale: float | None = None
) -> CropTransform:
    """The square of a face by the rule of that name.

    Args:
        landmarks: [68, 2] photo pixels.
        box: the detector's, photo pixels.
        rule: one of `CROP_RULES`.
        scale: takes the place of the rule's own scale.

    Raises:
        UserError: unknown rule.
    """
    if rule not in CROP_RULES:
        raise UserError("preprocess.crop_rule", f"{rule!r}", f"allowed: {', '.join(CROP_RULES)}")
    chosen = CROP_RULES[rule]
    return chosen.square(landmarks, box, chosen.scale if scale is None else scale)


def crop(image: Pixels | Floats, transform: CropTransform, size: int) -> Any:
    """Cut and resize, antialiased; beyond the photo its border pixels are repeated.

    Args:
        image: [H, W, 3] uint8 (Lanczos), or [H, W] float32 (bilinear: values do not overshoot).
        transform: the square.
        size: side of the result, pixels.

    Returns:
        [size, size, 3] uint8, or [size, size] float32.
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
    kernel = Image.Resampling.LANCZOS if image.ndim == 3 else Image.Resampling.BILINEAR
    return np.asarray(window.resize((size, size), kernel, box=box))


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


def paste_values(
    shape: tuple[int, int], values: NDArray[Any], transform: CropTransform
) -> NDArray[Any]:
    """A crop's values on their place in the photo's frame, zero elsewhere.

    Args:
        shape: height and width of the photo.
        values: [S, S] uint16 or float32.
        transform: the square.

    Returns:
        [H, W] of the same type; bilinear, antialiased where the photo is coarser than the crop. A
        pixel belongs to the square if its centre does.
    """
    layer = Image.fromarray(np.ascontiguousarray(values, np.float32))
    side = max(1, round(transform.side))
    if side < values.shape[0]:  # the affine resampling below does not antialias
        layer = layer.resize((side, side), Image.Resampling.BOX)
    step = layer.width / transform.side
    left, top = transform.corner
    # PIL answers 0 beyond the layer, also where half a pixel is missing: its border is repeated.
    layer = Image.fromarray(np.pad(np.asarray(layer), 1, mode="edge"))
    x0, x1 = _centres_within(left, transform.side, shape[1])
    y0, y1 = _centres_within(top, transform.side, shape[0])
    result = np.zeros(shape, values.dtype)
    if x1 <= x0 or y1 <= y0:
        return result
    matrix = (step, 0.0, (x0 - left) * step + 1.0, 0.0, step, (y0 - top) * step + 1.0)
    placed = np.asarray(
        layer.transform(
            (x1 - x0, y1 - y0), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
        )
    )
    whole = np.issubdtype(values.dtype, np.integer)
    result[y0:y1, x0:x1] = placed.round() if whole else placed
    return result


def _centres_within(start: float, side: float, limit: int) -> tuple[int, int]:
    """First and last-but-one of the pixels, of 0 to `limit`, whose centres lie in an interval."""
    first = max(0, math.ceil(start - 0.5))
    return first, min(limit, math.ceil(start + side - 0.5))
