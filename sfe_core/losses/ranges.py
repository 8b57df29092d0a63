"""The door of the pixel terms: pictures in another range give plausible, wrong numbers."""

from __future__ import annotations

import torch
from torch import Tensor

from sfe_core.errors import RunError

# Half-precision storage rounds 1 up to a little more.
_SLACK = 0.01


def check_pictures(pictures: Tensor, where: str) -> None:
    """Check that pictures are [B, 3, H, W], floating point, in [-1, 1].

    On a GPU this waits for all that was asked of it before; call it now and then, not every time.

    Raises:
        RunError: they are not.
    """
    check_shape(pictures, where)
    if not len(pictures):
        return
    low, high = (float(value) for value in torch.aminmax(pictures.detach()))
    # Written so that nan fails as well.
    if not (low >= -1 - _SLACK and high <= 1 + _SLACK):
        raise RunError(
            where,
            f"values from {low:.3g} to {high:.3g}",
            "expected RGB in [-1, 1], as the corpus gives it",
        )


def check_shape(pictures: Tensor, where: str) -> None:
    """Check that pictures are [B, 3, H, W] and floating point; costs nothing.

    Raises:
        RunError: they are not.
    """
    if pictures.ndim != 4 or pictures.shape[1] != 3 or not pictures.is_floating_point():
        raise RunError(
            where,
            f"a tensor {list(pictures.shape)} of {str(pictures.dtype).removeprefix('torch.')}",
            "expected [B, 3, H, W], floating point",
        )
