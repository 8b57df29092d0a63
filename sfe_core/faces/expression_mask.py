"""Where a face shows its expression: a soft mask around brows, eyes, nose wings and mouth."""

from __future__ import annotations

import torch
from torch import Tensor

# Of the iBUG 68-point scheme; the jaw and the bridge of the nose keep still.
_MOVING = (*range(17, 27), *range(31, 68))
# Standard deviation of the soft edge, as a share of the face's width.
EDGE = 0.04


def expression_mask(landmarks: Tensor, size: tuple[int, int], edge: float = EDGE) -> Tensor:
    """A Gaussian around each landmark that an expression moves; where they overlap, the largest.

    Args:
        landmarks: [B, 68, 2] as (x, y) in shares of the picture's width and height, iBUG order; on
            a square crop these are the fractions of a corpus.
        size: H and W of the mask, in the picture's own proportions.
        edge: standard deviation, as a share of the face's width: the wider side of the box around
            all landmarks, so that a turned face keeps a mask of the same breadth.

    Returns:
        [B, 1, H, W] in [0, 1], 1 at the landmarks.
    """
    height, width = size
    points = landmarks.float() * landmarks.new_tensor([width, height], dtype=torch.float32)
    face = (points.amax(dim=1) - points.amin(dim=1)).amax(dim=1).clamp_min(1e-6)
    # Centres of the mask's pixels.
    across, down = (
        torch.arange(count, device=points.device, dtype=torch.float32) + 0.5
        for count in (width, height)
    )
    moving = points[:, list(_MOVING)]
    spread = 2 * (edge * face[:, None, None]).square()
    # A Gaussian of two directions is a product, so no [B, 47, H, W] distance is needed.
    in_x, in_y = (
        (-(centres - moving[..., axis, None]).square() / spread).exp()
        for axis, centres in enumerate((across, down))
    )
    largest = torch.zeros(len(points), height, width, device=points.device)
    for row, column in zip(in_y.unbind(1), in_x.unbind(1), strict=True):
        largest = torch.maximum(largest, row[:, :, None] * column[:, None, :])
    return largest[:, None]
