"""What a camera does to a picture: tone, blur, vignette and noise."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from sfe_core.arrays import Floats, Pixels
from sfe_core.synthesis.spec import FaceSpec

CAMERA_STREAM = 13


def photograph(picture: Floats, spec: FaceSpec) -> Pixels:
    """Camera effects: highlight roll-off, blur, vignette and noise; uint8 [S, S, 3]."""
    size = len(picture)
    rng = np.random.default_rng([CAMERA_STREAM, spec.seed])
    # Highlights bend towards white instead of clipping.
    over = np.maximum(picture - 200.0, 0.0)
    result = picture - over + 55.0 * (1.0 - np.exp(-over / 55.0))
    if spec.scene.blur * size > 0.25:
        result = gaussian_filter(result, (spec.scene.blur * size, spec.scene.blur * size, 0))
    axis = np.linspace(-1, 1, size)
    result = result * (1.0 - 0.12 * (axis[:, None] ** 2 + axis[None] ** 2) / 2)[..., None]
    result = result + rng.normal(0.0, spec.scene.noise, result.shape[:2])[..., None]
    return np.clip(result.round(), 0, 255).astype(np.uint8)
