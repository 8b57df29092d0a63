"""Light on a surface: spherical harmonics, and the fixed lamps of the geometry pictures.

Normals are in the camera frame: x to image right, y up, z to the viewer.
"""

from __future__ import annotations

import numpy as np

from sfe_core.arrays import Floats, Mask, Pixels

# Ramamoorthi and Hanrahan 2001, eqs. 3 and 8: the real harmonics' constants times the Lambertian
# kernel's 2π/3 and π/4, but 1 instead of π for the constant band, as DECA's light codes were
# trained; in their order 1, x, y, z, xy, xz, yz, x² - y², 3z² - 1.
_FIRST = 2 * np.pi / 3 * np.sqrt(3 / (4 * np.pi))
_SECOND = 3 * np.pi / 4 * np.sqrt(5 / (12 * np.pi))
SH_FACTORS = np.array(
    [
        1 / np.sqrt(4 * np.pi),
        *(3 * [_FIRST]),
        *(3 * [_SECOND]),
        _SECOND / 2,
        np.pi / 8 * np.sqrt(5 / (4 * np.pi)),
    ]
)

# The picture of a bare mesh in DECA and EMOCA: five lamps of this strength, averaged, on this grey.
GEOMETRY_LAMPS = np.array([[-1, 1, 1], [1, 1, 1], [-1, -1, 1], [1, -1, 1], [0, 0, 1]], np.float64)
GEOMETRY_STRENGTH = 1.7
GEOMETRY_GREY = 180 / 255


def sh_basis(normals: Floats) -> Floats:
    """The nine scaled harmonics [..., 9] of normals [..., 3]."""
    x, y, z = np.moveaxis(np.asarray(normals), -1, 0)
    one = np.ones_like(x)
    terms = np.stack([one, x, y, z, x * y, x * z, y * z, x * x - y * y, 3 * z * z - 1], -1)
    return terms * SH_FACTORS.astype(terms.dtype)


def sh_shading(normals: Floats, light: Floats) -> Floats:
    """Irradiance [..., 3] (RGB) of normals [..., 3] under a light [9, 3]; may be below 0."""
    return sh_basis(normals) @ np.asarray(light, np.asarray(normals).dtype)


def lambertian(normals: Floats, albedo: Floats, light: Floats, hit: Mask) -> Floats:
    """Albedo times irradiance, black where no surface.

    Args:
        normals: [H, W, 3].
        albedo: [H, W, 3] RGB in [0, 1].
        light: [9, 3] spherical-harmonics coefficients (band, RGB).
        hit: [H, W] where there is a surface.

    Returns:
        [H, W, 3] RGB, 0 … about 1, not clipped.
    """
    return np.where(hit[..., None], albedo * sh_shading(normals, light), 0.0)


def shade_geometry(normals: Floats, hit: Mask) -> Floats:
    """The bare mesh as DECA and EMOCA draw it: grey under five lamps, black where no mesh.

    Args:
        normals: [H, W, 3], not made unit again: bilinear sampling shortens them a little.
        hit: [H, W] where there is a surface.

    Returns:
        [H, W, 3] in [0, 1], float like `normals`; RGB are equal.
    """
    lamps = GEOMETRY_LAMPS / np.linalg.norm(GEOMETRY_LAMPS, axis=1, keepdims=True)
    towards = np.asarray(normals) @ lamps.T.astype(np.asarray(normals).dtype)
    grey = GEOMETRY_GREY * GEOMETRY_STRENGTH * towards.clip(0.0, 1.0).mean(-1)
    return np.repeat(np.where(hit, grey, 0.0)[..., None], 3, axis=-1)


def to_pixels(picture: Floats) -> Pixels:
    """A picture in [0, 1], clipped, as uint8 of the same shape.

    >>> to_pixels(np.array([-0.2, 0.5, 1.0])).tolist()
    [0, 128, 255]
    """
    return (np.clip(picture, 0.0, 1.0) * 255).round().astype(np.uint8)
