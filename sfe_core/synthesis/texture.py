"""Tileable noise that skin, cloth and walls are broken up with; made once a process, from seeds."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.ndimage import gaussian_filter

from sfe_core.arrays import Floats

TILE_PX = 512
TILE_M = 0.22  # side of a tile on the head, metres: two fifths of a millimetre a texel
TEXTURE_STREAM = 31


@cache
def cloudy(largest_m: float, octaves: int = 3, seed: int = 0) -> Floats:
    """Fractal noise [TILE_PX, TILE_PX], mean 0, variance 1, periodic on both axes.

    Args:
        largest_m: standard deviation of the coarsest blobs, metres; each octave halves it.
        octaves: how many are added, each with half the strength of the one before.
        seed: of the noise.
    """
    total = np.zeros((TILE_PX, TILE_PX), np.float32)
    for octave in range(octaves):
        rng = np.random.default_rng([TEXTURE_STREAM, seed, octave])
        # Coarse blobs are drawn small and enlarged: a wide filter on the full tile takes seconds.
        sigma = largest_m / 2**octave * TILE_PX / TILE_M
        step = max(1, 2 ** int(np.log2(max(sigma / 2, 1))))
        grain = rng.standard_normal((TILE_PX // step,) * 2).astype(np.float32)
        grain = gaussian_filter(grain, sigma / step, mode="wrap")
        grain = np.kron(grain, np.ones((step, step), np.float32))
        if step > 1:
            grain = gaussian_filter(grain, step / 2, mode="wrap", truncate=2)
        total += grain / grain.std() * 0.5**octave
    return total / total.std()


@cache
def dotted(count: int, radius_m: tuple[float, float], seed: int = 0) -> Floats:
    """Soft round dots [TILE_PX, TILE_PX] in [0, 1], periodic.

    Args:
        count: dots on a tile.
        radius_m: smallest and largest standard deviation of a dot, metres.
        seed: of the places.
    """
    rng = np.random.default_rng([TEXTURE_STREAM, seed, count])
    result = np.zeros((TILE_PX, TILE_PX), np.float32)
    axis = np.arange(TILE_PX)
    for row, column, share in rng.uniform(0, 1, (count, 3)):
        sigma = (radius_m[0] + (radius_m[1] - radius_m[0]) * share**2) * TILE_PX / TILE_M
        reach = int(4 * sigma) + 1
        span = np.arange(-reach, reach + 1)
        profile = np.exp(-0.5 * (span / sigma) ** 2).astype(np.float32)
        rows = axis.take(span + int(row * TILE_PX), mode="wrap")
        columns = axis.take(span + int(column * TILE_PX), mode="wrap")
        patch = np.ix_(rows, columns)
        result[patch] = np.maximum(result[patch], np.outer(profile, profile))
    return result


def unroll(where: Floats) -> Floats:
    """Texels [2, P] (row, column) at points of the mean head [P, 3], metres, on a cylinder."""
    around = np.arctan2(where[:, 0], where[:, 2] + 0.07) * 0.085
    return np.stack([where[:, 1], around]) * np.float32(TILE_PX / TILE_M)


def look_up(texture: Floats, texels: Floats, seed: int) -> Floats:
    """A texture's value [P] at texels [2, P] of `unroll`.

    Args:
        texture: [TILE_PX, TILE_PX].
        texels: row and column, any range.
        seed: shifts the tile, so that no two people have the same skin.
    """
    shift = np.random.default_rng([TEXTURE_STREAM, seed]).integers(TILE_PX, size=2)
    rows, columns = (texels.astype(np.int32) + shift[:, None].astype(np.int32)) % TILE_PX
    return texture.ravel()[rows * TILE_PX + columns]
