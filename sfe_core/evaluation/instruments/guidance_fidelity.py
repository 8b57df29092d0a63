"""Does a picture keep to its guidance maps: landmarks, head pose, order in depth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sfe_core.faces.anny.fitting import fit_heads
from sfe_core.faces.head import HeadModel

Array = NDArray[np.float64]
# Below a hundredth of the coded range (a few millimetres) an order in depth is noise.
DEPTH_TIE = 0.01


def heads_of(landmarks: Array) -> tuple[Array, Array]:
    """Rotation and depth of heads fitted to landmarks.

    Args:
        landmarks: [N, 68, 2], x right, y down, in any one unit.

    Returns:
        Rotations [N, 3, 3], head to camera; depth [N, 68] of the landmarks towards the viewer,
        metres.
    """
    head = HeadModel.load()
    fits = fit_heads(np.asarray(landmarks, np.float64), head)
    points = head.landmarks(fits.identity, fits.actions)
    depths = np.einsum("nkj,nj->nk", points, fits.rotation[:, 2], dtype=np.float64)
    return np.asarray(fits.rotation, np.float64), depths


def rotation_angle(found: Array, asked: Array) -> Array:
    """Angle [N] in degrees between rotations [N, 3, 3]: the geodesic distance on SO(3)."""
    # The sine half comes from the skew part: arccos alone loses half its digits near zero.
    relative = found @ np.swapaxes(asked, -1, -2)
    cosine = (np.trace(relative, axis1=-2, axis2=-1) - 1.0) / 2.0
    skew = relative - np.swapaxes(relative, -1, -2)
    sine = np.linalg.norm(skew[..., (2, 0, 1), (1, 2, 0)], axis=-1) / 2.0
    return np.rad2deg(np.arctan2(sine, cosine))


def depth_order(found: Array, asked: Array) -> float:
    """Share of landmark pairs that lie one behind the other as the depth map asked.

    The ordinal agreement of depth in the wild (Chen et al. 2016), without its ties: pairs that the
    map puts at nearly one depth say nothing.

    Args:
        found: [K], depth of the landmarks read off the picture, larger is nearer.
        asked: [K], the map's values at the landmarks in [0, 1], larger is nearer; nan where the
            map has no surface.

    Returns:
        Share in [0, 1]; nan where no pair counts.
    """
    first, second = np.triu_indices(len(asked), 1)
    step = asked[first] - asked[second]
    counts = np.abs(np.nan_to_num(step)) > DEPTH_TIE
    if not counts.any():
        return float("nan")
    same = np.sign(found[first] - found[second]) == np.sign(step)
    return float(same[counts].mean())


def map_at(depth: Array, points: Array) -> Array:
    """Values [K] of a depth map [S, S] in [0, 1] at points [K, 2] (x, y) as fractions of its side.

    nan where the map holds no surface (0) and beyond its edge.
    """
    side = depth.shape[0]
    columns, rows = np.floor(points * side).astype(int).T
    inside = (columns >= 0) & (columns < side) & (rows >= 0) & (rows < side)
    values = depth[np.clip(rows, 0, side - 1), np.clip(columns, 0, side - 1)].astype(float)
    return np.where(inside & (values > 0.0), values, np.nan)
