"""What lies out of focus behind a synthetic face."""

from __future__ import annotations

import numpy as np
from PIL import Image

from sfe_core.arrays import Floats
from sfe_core.synthesis.spec import Scene


def background(scene: Scene, size_px: int) -> Floats:
    """An out-of-focus background [S, S, 3], 0..255."""
    rng = np.random.default_rng(scene.background_seed)
    base = rng.uniform(60, 225, 3) if scene.background == "plain" else rng.uniform(90, 200, 3)
    base = base.mean() + (base - base.mean()) * 0.6
    if scene.background in ("plain", "studio"):
        spread = 12.0 if scene.background == "plain" else 30.0
        coarse = base + rng.normal(0, spread, (3, 3, 1)) + rng.normal(0, spread / 6, (3, 3, 3))
    elif scene.background == "outdoor":
        sky = np.array([170.0, 200.0, 232.0]) * rng.uniform(0.75, 1.08)
        green = np.array([88.0, 122.0, 64.0]) * rng.uniform(0.6, 1.2)
        share = np.linspace(1.3, -0.3, 9)[:, None, None] + rng.normal(0, 0.25, (9, 9, 1))
        coarse = green + (sky - green) * np.clip(share, 0, 1) + rng.normal(0, 9, (9, 9, 1))
    else:
        wall = np.array([196.0, 178.0, 152.0]) * rng.uniform(0.55, 1.1)
        coarse = wall + rng.normal(0, 9, (8, 8, 1))
        for _ in range(3):
            top, left = rng.integers(0, 6, 2)
            coarse[top : top + 4, left : left + 2] *= rng.uniform(0.4, 1.3)
    channels = [
        Image.fromarray(coarse[..., c].astype(np.float32)).resize((size_px, size_px), 3)
        for c in range(3)
    ]
    return np.stack([np.asarray(channel) for channel in channels], -1)
