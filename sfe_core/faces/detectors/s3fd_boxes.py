"""Face boxes from S3FD's outputs, for whole batches at once.

Zhang et al., "S3FD: Single Shot Scale-invariant Face Detector", ICCV 2017: six maps of strides 4
to 128, one anchor of four strides' side per cell, box offsets coded as in SSD (variances 0.1 for
the centre, 0.2 for the log size). The face-alignment library walks the cells one by one in Python;
here the cells above the threshold are decoded together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from sfe_core.arrays import Floats, Pixels

MEAN_BGR = (104.0, 117.0, 123.0)
FIRST_STRIDE = 4
ANCHOR_STRIDES = 4.0
CENTRE_VARIANCE, SIZE_VARIANCE = 0.1, 0.2
LEAST_SCORE = 0.5
MOST_OVERLAP = 0.3

# Sides are padded up to one of these (beyond the last, to multiples of it), by the photo's own size
# alone, so that photos of nearly the same size share a batch and company changes nothing.
_SIDES = (64, 128, 192, 256, 384, 512, 768, 1024)


def decode_boxes(outputs: Sequence[Any]) -> list[Floats]:
    """Boxes of each picture above the threshold, not yet suppressed.

    Equal to decoding every cell and filtering afterwards: suppression keeps a box whatever
    weaker ones there are.

    Args:
        outputs: per stride, logits [B, 2, h, w] and offsets [B, 4, h, w], alternating, as tensors
            on any device.

    Returns:
        B arrays [n, 5] float32: left, top, right, bottom in pixels of the picture, score.
    """
    import torch

    found: list[Any] = []
    for level, (logits, offsets) in enumerate(zip(outputs[::2], outputs[1::2], strict=True)):
        stride = FIRST_STRIDE * 2**level
        scores = torch.softmax(logits.float(), dim=1)[:, 1]
        picture, row, column = torch.nonzero(scores > LEAST_SCORE, as_tuple=True)
        offset = offsets.float()[picture, :, row, column]
        side = ANCHOR_STRIDES * stride
        centre = stride / 2 + stride * torch.stack([column, row], dim=1)
        centre = centre + offset[:, :2] * CENTRE_VARIANCE * side
        size = side * torch.exp(offset[:, 2:] * SIZE_VARIANCE)
        score = scores[picture, row, column][:, None]
        corner = centre - size / 2
        found.append(torch.cat([picture[:, None], corner, corner + size, score], dim=1))
    table = torch.cat(found).cpu().numpy().astype(np.float32)
    return [table[table[:, 0] == place, 1:] for place in range(outputs[0].shape[0])]


def suppress(boxes: Floats) -> Floats:
    """Greedy non-maximum suppression of boxes [n, 5], by score; ties keep the later one.

    Overlap is measured as S3FD's authors do, with sides counted in whole pixels (+ 1).
    """
    boxes = boxes[np.argsort(boxes[:, 4], kind="stable")[::-1]]
    sides = boxes[:, 2:4] - boxes[:, :2] + 1
    areas = sides.prod(axis=1)
    kept: list[int] = []
    alive = np.ones(len(boxes), bool)
    for place in range(len(boxes)):
        if not alive[place]:
            continue
        kept.append(place)
        low = np.maximum(boxes[place, :2], boxes[:, :2])
        high = np.minimum(boxes[place, 2:4], boxes[:, 2:4])
        shared = np.maximum(0.0, high - low + 1).prod(axis=1)
        alive &= shared / (areas[place] + areas - shared) <= MOST_OVERLAP
    return boxes[kept]


class S3fdBoxes:
    """Boxes of many pictures by an S3FD network.

    Args:
        network: [B, 3, H, W] BGR minus the mean, to the twelve outputs of `decode_boxes`.
        device: where it lies.
        batch: pictures per forward pass; short batches are filled up, so that every pass has the
            same shape and a picture's boxes do not depend on its company.
    """

    def __init__(self, network: Any, device: str, batch: int = 1) -> None:
        self._network, self._device, self._batch = network, device, batch

    def find_many(self, images: Sequence[Pixels]) -> list[Floats]:
        """Boxes [n, 5] per picture [H, W, 3] uint8 RGB, best score first."""
        by_size: dict[tuple[int, int], list[int]] = {}
        for place, image in enumerate(images):
            by_size.setdefault(_padded_size(*image.shape[:2]), []).append(place)
        found: dict[int, Floats] = {}
        for size, places in by_size.items():
            for first in range(0, len(places), self._batch):
                some = places[first : first + self._batch]
                boxes = self._forward([images[place] for place in some], size)
                found.update(zip(some, boxes, strict=True))
        return [suppress(found[place]) for place in range(len(images))]

    def _forward(self, images: Sequence[Pixels], size: tuple[int, int]) -> Iterable[Floats]:
        import torch

        # Zero is the mean colour, as beyond the border in the network's own padding.
        batch = np.zeros((self._batch, 3, *size), np.float32)
        mean = np.array(MEAN_BGR, np.float32)[:, None, None]
        for place, image in enumerate(images):
            height, width = image.shape[:2]
            batch[place, :, :height, :width] = image[:, :, ::-1].transpose(2, 0, 1) - mean
        with torch.inference_mode():
            outputs = self._network(torch.from_numpy(batch).to(self._device))
        return decode_boxes(outputs)[: len(images)]


def _padded_size(height: int, width: int) -> tuple[int, int]:
    """The size that a picture of this size is padded to."""
    return _padded(height), _padded(width)


def _padded(side: int) -> int:
    last = _SIDES[-1]
    return next((fixed for fixed in _SIDES if side <= fixed), -(-side // last) * last)
