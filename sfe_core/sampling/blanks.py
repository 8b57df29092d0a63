"""Pictures without a picture: one colour throughout, as safety checkers and failures leave them."""

from __future__ import annotations

import numpy as np

# Below half a grey level of spread nothing but rounding is left to see.
LEAST_SPREAD_LEVELS = 0.5


def is_blank(pixels: np.ndarray) -> bool:
    """Whether a picture, uint8 [H, W, 3], is of one colour."""
    return bool(pixels.reshape(-1, pixels.shape[-1]).std(axis=0).max() < LEAST_SPREAD_LEVELS)
