"""The square cut round a face by one of the field's rules, and the way back into the photo."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sfe_core.arrays import Floats, Mask, Pixels
from sfe_core.errors import UserError

Box = tuple[float, float, float, float]  # left, top, right, bottom, photo pixels

# The 68 points end at the brows: the crop's centre lies this share of their extent above theirs,
# so that the forehead is in.
CENTRE_LIFT = 0.1
AS_IS = "as-is"


@dataclass(frozen=True)
class CropTransform:
    """A square in a photo, in photo pixels; pixel centres are at .5.

    Attributes:
        center_x, center_y: its middle.
        side: its side.
        angle: degrees clockwise by which it is turned in the photo; the crop shows its content
            upright, turned back by as much.
    """

    center_x: float
    center_y: float
    side: float
    angle: float = 0.0

    @property
    def corner(self) -> Floats:
        """Where the crop's left top corner lies, [2]."""
        half = np.full(2, self.side / 2)
        return np.array([self.center_x, self.center_y]) - turn_points(half, self.angle)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the upright box that holds the square."""
        corners = self.to_photo(np.array([(0, 0), (1, 0), (1, 1), (0, 1)]), 1)
        return (*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist())

    def to_crop(self, points: Floats, size: int) -> Floats:
        """Photo points [..., 2] in pixels of a crop of `size`."""
        return turn_points(np.asarray(points) - self.corner, -self.angle) * (size / self.side)

    def to_photo(self, points: Floats, size: int) -> Floats:
        """Points [..., 2] of a crop of `size` pixels, in photo pixels."""
        return turn_points(np.asarray(points) * (self.side / size), self.angle) + self.corner


def turn_points(points: Floats, angle: float) -> Floats:
    """Points [..., 2] (y down) turned clockwise about the origin by an angle in degrees.

    >>> turn_points(np.array([1.0, 0.0]), 90.0).tolist()  # from the right to below
    [0.0, 1.0]
    """
    if not angle:
        return points
    cosine, sine = turn_of(angle)
    return np.asarray(points) @ np.array([[cosine, sine], [-sine, cosine]])


def turn_of(angle: float) -> tuple[float, float]:
    """Cosine and sine of an angle in degrees, whole numbers at quarter turns."""
    radians = math.radians(angle)
    return round(math.cos(radians), 15), round(math.sin(radians), 15)


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

    >>> crop_emoca_bbox((0.0, 0.0, 100.0, 100.0), 1.25)
    CropTransform(center_x=50.0, center_y=62.0, side=125.0, angle=0.0)
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
    # Where there is no photo to be taken as it is, and for the middle of one that is not square.
    AS_IS: CropRule(1.5, lambda landmarks, _, scale: crop_around(landmarks, scale)),
}


def crop_square(
    landmarks: Floats,
    box: Box,
    rule: str = "landmarks",
    scale: float | None = None,
    angle: float = 0.0,
) -> CropTransform:
    """The square of a face by the rule of that name, whatever photo it is in.

    Args:
        landmarks: [68, 2] photo pixels.
        box: the detector's, photo pixels.
        rule: one of `CROP_RULES`.
        scale: takes the place of the rule's own scale.
        angle: degrees clockwise by which the face, and so the square, is turned in the photo.

    Raises:
        UserError: unknown rule.
    """
    if rule not in CROP_RULES:
        raise UserError("preprocess.crop_rule", f"{rule!r}", f"allowed: {', '.join(CROP_RULES)}")
    chosen = CROP_RULES[rule]
    scale = chosen.scale if scale is None else scale
    if not angle:
        return chosen.square(landmarks, box, scale)
    # The rules are for upright faces: the landmarks are turned about the middle of the box.
    middle = np.array([box[0] + box[2], box[1] + box[3]]) / 2
    upright = turn_points(landmarks - middle, -angle) + middle
    square = chosen.square(upright, box, scale)
    centre = turn_points(np.array([square.center_x, square.center_y]) - middle, angle) + middle
    return CropTransform(float(centre[0]), float(centre[1]), square.side, angle)


def crop(image: Pixels | Floats, transform: CropTransform, size: int) -> Any:
    """Cut and resize, antialiased; beyond the photo its border pixels are repeated.

    Args:
        image: [H, W, 3] uint8 (Lanczos), or [H, W] float32 (bilinear: values do not overshoot).
        transform: the square.
        size: side of the result, pixels.

    Returns:
        [size, size, 3] uint8, or [size, size] float32.
    """
    if transform.angle:
        image, transform = _upright(image, transform)
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


def _upright(image: Any, transform: CropTransform) -> tuple[Any, CropTransform]:
    """A picture in which a turned square is upright, and the square there.

    Quarter turns move whole pixels; for others the square and a border are resampled (bicubic) at
    the photo's own resolution.
    """
    middle = np.array([transform.center_x, transform.center_y])
    if transform.angle % 90 == 0:
        size = np.array([image.shape[1], image.shape[0]])
        quarters = round(transform.angle / 90)
        turned = np.rot90(image, quarters)
        x, y = (
            turn_points(middle - size / 2, -transform.angle)
            + np.array([turned.shape[1], turned.shape[0]]) / 2
        )
        return turned, CropTransform(float(x), float(y), transform.side)
    side = math.ceil(transform.side * 1.1) + 16
    reach = math.ceil(side * 0.75)
    x0, y0 = (math.floor(value) - reach for value in middle)
    columns = np.arange(x0, x0 + 2 * reach + 1).clip(0, image.shape[1] - 1)
    rows = np.arange(y0, y0 + 2 * reach + 1).clip(0, image.shape[0] - 1)
    window = Image.fromarray(np.ascontiguousarray(image[rows[:, None], columns[None, :]]))
    cosine, sine = turn_of(transform.angle)
    x, y = middle - (x0, y0) - turn_points(np.full(2, side / 2), transform.angle)
    matrix = (cosine, -sine, float(x), sine, cosine, float(y))
    kernel = Image.Resampling.BICUBIC if image.ndim == 3 else Image.Resampling.BILINEAR
    turned = window.transform((side, side), Image.Transform.AFFINE, matrix, kernel)
    return np.asarray(turned), CropTransform(side / 2, side / 2, transform.side)


def paste(
    canvas: Pixels, picture: Pixels, transform: CropTransform, mask: Mask | None = None
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
    left, top, right, bottom = transform.box
    x0, y0 = max(0, math.floor(left)), max(0, math.floor(top))
    x1, y1 = min(canvas.shape[1], math.ceil(right)), min(canvas.shape[0], math.ceil(bottom))
    result = canvas.copy()
    if x1 <= x0 or y1 <= y0:
        return result
    matrix = into_layer(transform, layers[0].width, x0, y0)
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
    width = layer.width
    left, top, right, bottom = transform.box
    # PIL answers 0 beyond the layer, also where half a pixel is missing: its border is repeated.
    layer = Image.fromarray(np.pad(np.asarray(layer), 1, mode="edge"))
    x0, x1 = centres_within(left, right, shape[1])
    y0, y1 = centres_within(top, bottom, shape[0])
    result = np.zeros(shape, values.dtype)
    if x1 <= x0 or y1 <= y0:
        return result
    matrix = into_layer(transform, width, x0, y0, 1.0)
    placed = np.asarray(
        layer.transform(
            (x1 - x0, y1 - y0), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
        )
    )
    whole = np.issubdtype(values.dtype, np.integer)
    placed = placed.round() if whole else placed
    if transform.angle:
        x, y = np.meshgrid(np.arange(x0, x1) + 0.5, np.arange(y0, y1) + 0.5)
        inside = transform.to_crop(np.stack([x, y], axis=-1), 1)
        placed = placed * ((inside >= 0) & (inside < 1)).all(axis=-1)
    result[y0:y1, x0:x1] = placed
    return result


def into_layer(
    transform: CropTransform, width: int, x0: int, y0: int, border: float = 0.0
) -> tuple[float, ...]:
    """PIL's affine matrix from the photo's pixels, counted from (x0, y0), into a crop.

    Args:
        transform: the crop's square.
        width: side of the crop, pixels.
        x0, y0: photo pixels.
        border: pixels that were added round the crop.
    """
    step = width / transform.side
    cosine, sine = turn_of(transform.angle)
    across, down = (x0, y0) - transform.corner
    x = (across * cosine + down * sine) * step + border
    y = (down * cosine - across * sine) * step + border
    return (step * cosine, step * sine, float(x), -step * sine, step * cosine, float(y))


def centres_within(start: float, end: float, limit: int) -> tuple[int, int]:
    """First and last-but-one of the pixels, of 0 to `limit`, whose centres lie in an interval."""
    first = max(0, math.ceil(start - 0.5))
    return first, min(limit, math.ceil(end - 0.5))
