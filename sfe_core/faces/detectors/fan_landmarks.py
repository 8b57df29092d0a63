"""68 landmarks by a face alignment network, for many faces at once.

Bulat and Tzimiropoulos, "How far are we from solving the 2D & 3D face alignment problem?", ICCV
2017. Cutting and reading follow the face-alignment library (square of 200 / 195 of the box's width
plus height, 256 pixels in, 64 × 64 heat maps out, peaks moved by a quarter pixel towards the higher
neighbour), but for two things: the way back uses the very window that was cut, and positions are
not cut down to whole pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sfe_core.arrays import Floats, Pixels
from sfe_core.faces.crop import Box, crop_face_alignment

Window = tuple[int, int, int, int]  # left, top, right, bottom, whole photo pixels

INPUT_PX = 256
POINTS = 68


def fan_window(box: Box) -> Window:
    """The whole-pixel window that is cut for a box; it may reach beyond the photo."""
    square = crop_face_alignment(box, 1.0)
    left, top = square.corner
    # The library counts pixels from 1 and cuts positions down to whole ones.
    step = square.side / INPUT_PX
    edges = (left + step, top + step, left + square.side, top + square.side)
    x0, y0, x1, y1 = (int(edge) for edge in edges)
    return x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)


def fan_input(photo: Pixels, window: Window) -> Floats:
    """The network's view [3, 256, 256] in [0, 1] of a window; black beyond the photo.

    Args:
        photo: [H, W, 3] uint8 RGB.
        window: from `fan_window`.
    """
    import cv2

    x0, y0, x1, y1 = window
    height, width = photo.shape[:2]
    cut = np.zeros((y1 - y0, x1 - x0, 3), np.uint8)
    left, right = np.clip([x0, x1], 0, width)
    top, bottom = np.clip([y0, y1], 0, height)
    cut[top - y0 : bottom - y0, left - x0 : right - x0] = photo[top:bottom, left:right]
    # Bilinear as in training; beyond half size it would skip pixels.
    large = min(cut.shape[:2]) > 2 * INPUT_PX
    method = cv2.INTER_AREA if large else cv2.INTER_LINEAR
    view = cv2.resize(cut, (INPUT_PX, INPUT_PX), interpolation=method)
    return view.transpose(2, 0, 1).astype(np.float32) / 255.0


def heatmap_peaks(heatmaps: Floats) -> Floats:
    """Peaks [N, 68, 2] of heat maps [N, 68, h, w], x and y as shares of the map's sides."""
    count, points, height, width = heatmaps.shape
    place = heatmaps.reshape(count, points, -1).argmax(axis=2)
    row, column = place // width, place % width
    inner = (row > 0) & (row < height - 1) & (column > 0) & (column < width - 1)
    i, j = np.nonzero(inner)
    r, c = row[inner], column[inner]
    shift = np.zeros((count, points, 2))
    shift[i, j, 0] = np.sign(heatmaps[i, j, r, c + 1] - heatmaps[i, j, r, c - 1]) * 0.25
    shift[i, j, 1] = np.sign(heatmaps[i, j, r + 1, c] - heatmaps[i, j, r - 1, c]) * 0.25
    return (np.stack([column, row], axis=2) + 0.5 + shift) / (width, height)


class FanLandmarks:
    """Landmarks of many faces by one network.

    Args:
        network: [B, 3, 256, 256] in [0, 1] to heat maps [B, 68, 64, 64], or a list whose last
            item they are.
        device: where it lies.
        batch: faces per forward pass; short batches are filled up, so that a face's landmarks do
            not depend on its company.
    """

    def __init__(self, network: Any, device: str, batch: int = 1) -> None:
        self._network, self._device, self._batch = network, device, batch

    def find_many(self, photos: Sequence[Pixels], boxes: Sequence[Box]) -> Floats:
        """Landmarks [N, 68, 2] float32 in photo pixels, one photo [H, W, 3] and box per face."""
        found = np.zeros((len(boxes), POINTS, 2), np.float32)
        windows = [fan_window(box) for box in boxes]
        for first in range(0, len(boxes), self._batch):
            some = range(first, min(first + self._batch, len(boxes)))
            views = np.zeros((self._batch, 3, INPUT_PX, INPUT_PX), np.float32)
            for place, number in enumerate(some):
                views[place] = fan_input(photos[number], windows[number])
            peaks = heatmap_peaks(self._forward(views))
            for place, number in enumerate(some):
                x0, y0, x1, y1 = windows[number]
                found[number] = peaks[place] * (x1 - x0, y1 - y0) + (x0, y0)
        return found

    def _forward(self, views: Floats) -> Floats:
        import torch

        with torch.inference_mode():
            out = self._network(torch.from_numpy(views).to(self._device))
        maps = out[-1] if isinstance(out, (list, tuple)) else out
        return maps.float().cpu().numpy()
