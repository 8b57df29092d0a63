"""Where a face's picture shows its photo, and where only the photo's repeated border.

An area is a matrix [2, 3] from places in a picture to places in the photo, both (x, y, 1) as shares
of width and height: what it takes outside [0, 1] is invented. So it costs a few numbers a face, and
nothing has to be stored but the crop's square, which the manifest has.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from sfe_core.arrays import Floats
from sfe_core.corpus.manifest import crop_of
from sfe_core.corpus.views import Frame

# Every place of the picture in the middle of the photo: nothing is invented.
INSIDE = np.array([[0.0, 0.0, 0.5], [0.0, 0.0, 0.5]])


def areas_of(rows: pd.DataFrame) -> Floats:
    """The areas [N, 2, 3] of the crops of N rows; `INSIDE` where none of it lies beyond the photo.

    So too where a row does not say.
    """
    x, y, side, width, height, angle = (
        rows[name].astype("float64").to_numpy()
        for name in ("crop_x", "crop_y", "crop_side", "width", "height", "angle")
    )
    turn = np.deg2rad(np.nan_to_num(angle))
    reach = side / 2 * (abs(np.cos(turn)) + abs(np.sin(turn)))
    beyond = (x < reach) | (y < reach) | (x + reach > width) | (y + reach > height)
    areas = np.tile(INSIDE, (len(rows), 1, 1))
    for place in np.flatnonzero(beyond):
        row = rows.iloc[place]
        # The crop's corner, and the ends of its upper and its left edge.
        corner, across, down = crop_of(row).to_photo(np.array([(0, 0), (1, 0), (0, 1)]), 1)
        columns = np.stack([across - corner, down - corner, corner], axis=1)
        areas[place] = columns / np.array([[row["width"]], [row["height"]]], float)
    return areas


def area_in_frame(area: Floats, frame: Frame) -> Floats:
    """The area [2, 3] of a frame of a picture that has the area `area`."""
    left, across = frame.left, frame.side
    if frame.mirrored:
        left, across = left + across, -across
    seen = np.array([[across, 0.0, left], [0.0, frame.side, frame.top], [0.0, 0.0, 1.0]])
    return area @ seen
