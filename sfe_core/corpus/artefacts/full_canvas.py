"""Maps in the photo's own frame, aligned to the pixel with the photo, and blends of both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sfe_core.arrays import Floats, Pixels
from sfe_core.faces.crop import CropTransform, paste
from sfe_core.faces.depth import DEPTH_MAXIMUM
from sfe_core.faces.landmark_drawing import draw_landmarks
from sfe_core.faces.reconstruction import Reconstruction
from sfe_core.faces.rendering import Camera, Raster, raycast, rotation_matrix

Box = tuple[slice, slice]  # rows and columns of the photo

# Rays are cast for so many pixels at a time: each takes about 100 bytes on its way.
_TILE_PIXELS = 1 << 20
# Larger squares get their landmarks drawn at this size and enlarged.
_DRAWN_PX = 1536
_LONGEST_PX = 1024  # of a panel of an overlay
_COVER = 0.6  # of the map over its photo, where there is one


def photo_tiles(
    head: Reconstruction, height: int, width: int
) -> Iterator[tuple[Box, Raster, float]]:
    """The head's rasters in the photo's frame, in bands of rows over where it is.

    Args:
        head: as reconstructed.
        height, width: of the photo.

    Yields:
        Where the band lies, its raster, and its pixels per metre.
    """
    spread = head.vertices[np.unique(head.faces), :2]
    x0, y0 = np.floor(spread.min(axis=0)).astype(int).clip(0)
    x1, y1 = np.ceil(spread.max(axis=0)).astype(int).clip(None, [width, height])
    if x1 <= x0 or y1 <= y0:
        return
    rows = max(1, _TILE_PIXELS // int(x1 - x0))
    for top in range(int(y0), int(y1), rows):
        bottom = min(top + rows, int(y1))
        camera = Camera(
            head.camera.rotation, head.camera.scale, head.camera.translation - (x0, top)
        )
        vertices = camera.project(head.points)
        raster = raycast(vertices, head.faces, bottom - top, int(x1 - x0))
        yield (slice(top, bottom), slice(int(x0), int(x1))), raster, head.pixels_per_metre


def render_in_photo(
    head: Reconstruction,
    height: int,
    width: int,
    shade: Callable[[Raster, float], NDArray[Any]],
    channels: tuple[int, ...] = (3,),
    kind: type = np.uint8,
    angle: float = 0.0,
) -> NDArray[Any]:
    """A picture of the head in the photo's frame, zero where it is not.

    Args:
        head: as reconstructed.
        height, width: of the photo.
        shade: raster [h, w] and its pixels per metre to a picture [h, w, *channels].
        channels: of the picture; () for one value per pixel.
        kind: of its values.
        angle: degrees clockwise by which the head's crop stands in the photo; it is shaded as it
            is there, upright.

    Returns:
        [height, width, *channels].
    """
    picture: NDArray[Any] = np.zeros((height, width, *channels), kind)
    for box, raster, scale in photo_tiles(head, height, width):
        if angle:
            normals = raster.normals @ rotation_matrix(0, 0, -angle).T
            raster = replace(raster, normals=normals)
        picture[box] = shade(raster, scale)
    return picture


def landmarks_in_photo(
    landmarks: Floats, transform: CropTransform, height: int, width: int
) -> Pixels:
    """The drawn landmarks in the photo's frame, lines as wide as the crop's map has them.

    Args:
        landmarks: [68, 2] photo pixels.
        transform: the crop's square.
        height, width: of the photo.

    Returns:
        [height, width, 3] uint8, black elsewhere.
    """
    black = np.zeros((height, width, 3), np.uint8)
    side = max(1, int(np.ceil(transform.side)))
    if side > _DRAWN_PX or transform.angle:
        drawn_px = min(side, _DRAWN_PX)
        drawn = draw_landmarks(transform.to_crop(landmarks, drawn_px), drawn_px)
        return paste(black, drawn, transform)
    # A whole-pixel square: nothing is resampled.
    corner = np.floor(transform.corner).astype(int)
    drawn = draw_landmarks(landmarks - corner, side)
    low, high = np.maximum(corner, 0), np.minimum(corner + side, (width, height))
    if (high > low).all():
        inner = drawn[low[1] - corner[1] : high[1] - corner[1], low[0] - corner[0] :]
        black[low[1] : high[1], low[0] : high[0]] = inner[:, : high[0] - low[0]]
    return black


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
