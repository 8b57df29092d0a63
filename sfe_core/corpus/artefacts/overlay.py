"""Blends of a photo and its maps, to be looked at."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sfe_core.arrays import Pixels
from sfe_core.faces.depth import DEPTH_MAXIMUM

_LONGEST_PX = 1024
_COVER = 0.6  # of the map, where there is one


def blend(photo: Pixels, picture: Pixels, cover: float = _COVER) -> Pixels:
    """A map laid over its photo, both [H, W, 3] uint8; black parts of the map are transparent."""
    share = np.where(picture.any(axis=2), cover, 0.0)[..., None]
    return (photo * (1.0 - share) + picture * share).round().astype(np.uint8)


def overlay(
    photo: Pixels, mesh: Pixels, depth: NDArray[np.uint16] | None, landmarks: Pixels
) -> Pixels:
    """The photo under its mesh, its depth and its landmarks, side by side.

    Args:
        photo: [H, W, 3].
        mesh: [H, W, 3] render in the photo's frame.
        depth: [H, W] in the photo's frame; None leaves its panel out.
        landmarks: [H, W, 3] drawn in the photo's frame.

    Returns:
        [h, panels · w, 3]: each panel the photo's size, but at most 1024 pixels long.
    """
    panels: list[Any] = [blend(photo, mesh)]
    if depth is not None:
        grey = (depth * (255.0 / DEPTH_MAXIMUM)).round().astype(np.uint8)
        panels.append(blend(photo, np.repeat(grey[..., None], 3, axis=2)))
    panels.append(blend(photo, landmarks, 1.0))
    shrink = min(1.0, _LONGEST_PX / max(photo.shape[:2]))
    if shrink < 1.0:
        height, width = (max(1, round(side * shrink)) for side in photo.shape[:2])
        panels = [
            np.asarray(Image.fromarray(panel).resize((width, height), Image.Resampling.LANCZOS))
            for panel in panels
        ]
    return np.concatenate(panels, axis=1)
