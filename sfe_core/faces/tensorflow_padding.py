"""The padding that TensorFlow calls SAME, which weights trained there expect."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


def pad_same(x: Tensor, kernel: int, stride: int, value: float = 0.0) -> Tensor:
    """Pad [B, C, H, W] so that a window of `kernel` at `stride` gives ceil(side / stride) places.

    Where the border is odd, its larger half lies right and below.

    >>> import torch
    >>> pad_same(torch.zeros(1, 1, 8, 9), kernel=3, stride=2).shape  # one on the right, two wide
    torch.Size([1, 1, 9, 11])
    """
    borders: list[int] = []
    for side in (x.shape[3], x.shape[2]):
        whole = max(0, (-(-side // stride) - 1) * stride + kernel - side)
        borders += [whole // 2, whole - whole // 2]
    return F.pad(x, borders, value=value) if any(borders) else x


class SameConv2d(nn.Conv2d):
    """A convolution with SAME padding, at any stride; its window is square."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, ceil(H / stride), ceil(W / stride)]."""
        return super().forward(pad_same(input, self.kernel_size[0], self.stride[0]))
