"""A crop that was drawn anew, laid back into its photo so that no square shows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sfe_core.arrays import Floats, Pixels
from sfe_core.faces.crop import CropTransform, centres_within, into_layer

# Of the square's side: how wide its edge fades. The usual crop has a tenth round the chin.
EDGE = 0.08
_CORNERS = np.array([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)])
_Box = tuple[int, int, int, int]  # columns from and to, rows from and to, photo pixels


def lay_back(
    photo: Pixels,
    picture: Pixels,
    transform: CropTransform,
    kept: Floats | None = None,
    edge: float = EDGE,
) -> Pixels:
    """A photo with a picture in one of its squares, which fades towards the square's edge.

    An edge that lies beyond the photo does not fade: there is nothing of the photo behind it.

    Args:
        photo: [H, W, 3], left as it is.
        picture: [S, S, 3], what belongs into the square; resampled bicubically.
        transform: the square.
        kept: [S, S] share of the photo that is kept, in [0, 1]; None: none of it.
        edge: share of the square's side over which it fades.

    Returns:
        A new [H, W, 3]; pixels outside the square, or of which all is kept, are the photo's own.
    """
    left, top, right, bottom = transform.box
    height, width = photo.shape[:2]
    box = (*centres_within(left, right, width), *centres_within(top, bottom, height))
    x0, x1, y0, y1 = box
    result = photo.copy()
    if x1 <= x0 or y1 <= y0:
        return result
    cover = _edge_cover(transform, box, (width, height), edge)
    if kept is not None:
        cover *= 1.0 - np.asarray(_placed(kept.astype(np.float32), transform, box)).clip(0.0, 1.0)
    mask = Image.fromarray((cover * 255.0).round().astype(np.uint8))
    below = Image.fromarray(np.ascontiguousarray(result[y0:y1, x0:x1]))
    # PIL blends whole numbers: exact where the mask is 0 or 255, and small in memory.
    blended = Image.composite(_placed(picture, transform, box), below, mask)
    result[y0:y1, x0:x1] = np.asarray(blended)
    return result


def _placed(values: NDArray[Any], transform: CropTransform, box: _Box) -> Image.Image:
    """A crop's [S, S] or [S, S, 3] in the photo's pixels of a box."""
    layer = Image.fromarray(np.ascontiguousarray(values))
    side = max(1, round(transform.side))
    if side < layer.width:  # the affine resampling below does not antialias
        layer = layer.resize((side, side), Image.Resampling.BOX)
    # PIL answers 0 beyond the layer, so its border is repeated: squares end between pixels.
    around = ((1, 1), (1, 1), (0, 0))[: values.ndim]
    padded = Image.fromarray(np.pad(np.asarray(layer), around, mode="edge"))
    x0, x1, y0, y1 = box
    return padded.transform(
        (x1 - x0, y1 - y0),
        Image.Transform.AFFINE,
        into_layer(transform, layer.width, x0, y0, 1.0),
        Image.Resampling.BICUBIC,
    )


def _edge_cover(
    transform: CropTransform, box: _Box, photo_size: tuple[int, int], edge: float
) -> NDArray[np.float32]:
    """[h, w] of a box: 0 outside the square, rising to 1 from its edges to `edge` within."""
    x0, x1, y0, y1 = box
    # Affine, so that what a row and a column add to a place in the square is worked out once.
    columns = np.stack([np.arange(x0, x1) + 0.5, np.zeros(x1 - x0)], axis=-1)
    rows = np.stack([np.zeros(y1 - y0), np.arange(y0, y1) + 0.5], axis=-1)
    origin = transform.to_crop(np.zeros(2), 1)
    across = (transform.to_crop(columns, 1) - origin).astype(np.float32)
    down = transform.to_crop(rows, 1).astype(np.float32)
    u, v = (across[None, :, axis] + down[:, None, axis] for axis in (0, 1))
    nearest = np.full(u.shape, np.inf, np.float32)
    for number, distance in enumerate((v, 1.0 - u, 1.0 - v, u)):
        corners = transform.to_photo(_CORNERS[[number, (number + 1) % 4]], 1)
        if _crosses_photo(corners, transform.side, photo_size):
            np.minimum(nearest, distance, out=nearest)
    risen = (nearest / edge).clip(0.0, 1.0)
    return risen * risen * (3.0 - 2.0 * risen)  # flat at both ends: no line where it begins


def _crosses_photo(corners: Floats, side: float, photo_size: tuple[int, int]) -> bool:
    """Whether an edge between two corners [2, 2] runs between pixels of the photo."""
    along = np.linspace(0.0, 1.0, math.ceil(side) + 2)[:, None]
    points = corners[0] + along * (corners[1] - corners[0])
    return bool(((points > 0.5) & (points < np.asarray(photo_size) - 0.5)).all(axis=1).any())
