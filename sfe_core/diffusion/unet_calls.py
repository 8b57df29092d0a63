"""A UNet whose calls go through a function for a while, whatever pipeline makes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from accelerate.utils import recursively_apply
from diffusers import UNet2DConditionModel
from torch import Tensor


@contextmanager
def calls_through(unet: UNet2DConditionModel, forward: Callable[..., Any]) -> Iterator[None]:
    """Within the block the UNet's `forward` is this one; blocks may be entered in one another."""
    own = vars(unet).get("forward")
    unet.forward = forward
    try:
        yield
    finally:
        del unet.forward
        if own is not None:
            unet.forward = own


def rows_of(told: Any, rows: slice, count: int) -> Any:
    """What a UNet is told of `count` images, in any nesting, of some rows of them.

    Tensors that are not of all of the images (a timestep for all) stay as they are.
    """

    def part(value: Tensor) -> Tensor:
        return value[rows] if value.dim() and len(value) == count else value

    return recursively_apply(part, told)


@dataclass
class UNetOutput:
    """As diffusers' UNets give theirs."""

    sample: Tensor
