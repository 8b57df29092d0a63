"""The picture that EMOCA's and DECA's encoders are shown, and the way back into the photo.

Their rule: the mean side of the landmarks' box times 1.1, times 1.25, cut to whole pixels, is the
side of a square that bilinear sampling maps, without smoothing and with black beyond the photo, so
that its corners become the *centres* of the corner pixels of a 224 × 224 picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sfe_core.arrays import Floats, Integers, Pixels
from sfe_core.faces.crop import crop_emoca
from sfe_core.faces.emoca.encoders import INPUT_PX
from sfe_core.faces.rendering import Camera

_SCALE = 1.25


@dataclass(frozen=True)
class InputSquare:
    """Where the encoders look, in photo pixels with centres at .5."""

    left: float
    top: float
    side: float

    @property
    def step(self) -> float:
        """Photo pixels per input pixel."""
        return self.side / (INPUT_PX - 1)

    def sampled(self) -> tuple[Floats, Floats]:
        """Photo x [224] and y [224] of the input's pixel centres."""
        steps = np.arange(INPUT_PX) * self.step
        return self.left + steps, self.top + steps

    def camera(self, cam: Floats, origin: Floats) -> Camera:
        """The camera from posed metres to photo pixels, with the same picture as the input's.

        Args:
            cam: [3] the network's scale, x, y (`encoders.weak_perspective`).
            origin: [3] the point, in metres of the posed mesh, that becomes the camera's origin.
        """
        scale, x, y = (float(value) for value in cam)
        # The network's [-1, 1] spans the input from edge to edge, half a pixel beyond the centres.
        pixels = scale * INPUT_PX / 2 * self.step
        shifted = np.array([origin[0] + x, -(origin[1] + y)])
        corner = np.array([self.left, self.top])
        middle = corner + (INPUT_PX - 1) / 2 * self.step
        return Camera(np.eye(3, dtype=np.float32), pixels, middle + pixels * shifted)


def input_square(landmarks: Floats) -> InputSquare:
    """The square for 68 landmarks [68, 2], photo pixels."""
    square = crop_emoca(landmarks, _SCALE)
    side = float(int(square.side))
    return InputSquare(square.center_x - side / 2, square.center_y - side / 2, side)


def cut_input(photo: Pixels, square: InputSquare) -> Floats:
    """Sample the encoders' picture.

    Args:
        photo: [H, W, 3] uint8 RGB.
        square: from `input_square`.

    Returns:
        [3, 224, 224] float32 RGB in [0, 1].
    """
    x, y = square.sampled()
    columns, rows = _taps(x, photo.shape[1]), _taps(y, photo.shape[0])
    result = np.zeros((INPUT_PX, INPUT_PX, 3))
    for row, row_weight in rows:
        across = sum(
            photo[row[:, None], column[None]] * weight[None, :, None] for column, weight in columns
        )
        result += across * row_weight[:, None, None]
    return np.ascontiguousarray((result / 255.0).transpose(2, 0, 1), np.float32)


def _taps(places: Floats, length: int) -> list[tuple[Integers, Floats]]:
    """The two pixels round each place and their weights, 0 for a pixel beyond the photo."""
    index = places - 0.5
    low = np.floor(index).astype(np.int64)
    taps = []
    for pixel, weight in ((low, low + 1 - index), (low + 1, index - low)):
        inside = (pixel >= 0) & (pixel < length)
        taps.append((pixel.clip(0, length - 1), np.where(inside, weight, 0.0)))
    return taps
