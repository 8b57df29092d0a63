"""Is a drawn picture noisy? Some starting noises leave a rig's picture full of grain."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import convolve

from sfe_core.arrays import Pixels

# J. Immerkær, "Fast noise variance estimation", Computer Vision and Image Understanding 64(2),
# 1996: the difference of two Laplacians, which edges hardly move.
_MASK = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float64)
_TIMES_SOURCE, _AT_LEAST = 2.5, 6.0  # grey levels


def noise_level(picture: Pixels) -> float:
    """Standard deviation of the noise in a picture [H, W, 3], grey levels of 0 to 255.

    >>> noise_level(np.full((16, 16, 3), 90, np.uint8))
    0.0
    """
    grey = np.asarray(picture, np.float64).mean(axis=2)
    answer = convolve(grey, _MASK)[1:-1, 1:-1]
    return float(np.sqrt(np.pi / 2) / 6 * np.abs(answer).mean())


def most_noise(source: Pixels) -> float:
    """The noise from which on a picture drawn of a source [H, W, 3] counts as noisy.

    The source's own is no measure where it is smooth: below a few grey levels nobody sees any.
    """
    return max(_AT_LEAST, _TIMES_SOURCE * noise_level(source))
