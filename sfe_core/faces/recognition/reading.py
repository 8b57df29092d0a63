"""What every emotion recogniser says of a face, and the resizing at its door."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class EmotionReading:
    """What a recogniser reads off a batch of faces.

    Attributes:
        logits: [B, C], the first C of `EMOTIONS` in their order: all eight, or EmoNet's five.
        valence: [B], in about [-1, 1]; nan of a recogniser that does not read it.
        arousal: [B], likewise.
        features: [B, D], the vector the head reads from.
    """

    logits: Tensor
    valence: Tensor
    arousal: Tensor
    features: Tensor


def fit_to_input(images: Tensor, size: int) -> Tensor:
    """Resize faces to a recogniser's input side, antialiased, leaving the range alone.

    Args:
        images: [B, 3, H, W], RGB in [-1, 1].
        size: side of the result, pixels.
    """
    if images.shape[-2:] == (size, size):
        return images
    return F.interpolate(
        images, size=(size, size), mode="bilinear", antialias=True, align_corners=False
    )
