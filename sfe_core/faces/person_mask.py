"""Where the person is in a picture, by MediaPipe's selfie segmentation.

A MobileNetV3 (Howard et al. 2019, https://arxiv.org/abs/1905.02244) with a decoder of three merges.
Module names are those that `sfe_core.assets.conversion` gives to the tensors of the published file.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from sfe_core.assets import locate
from sfe_core.faces.recognition.reading import fit_to_input
from sfe_core.faces.tensorflow_padding import SameConv2d
from sfe_core.strict_loading import load_strictly, read_tensors

SIDE = 256
# Of the encoder: inputs, inner width, outputs, kernel, stride, width of the gate (0: none).
_BLOCKS = (
    (16, 16, 16, 3, 2, 8),
    (16, 72, 24, 3, 2, 0),
    (24, 88, 24, 3, 1, 0),
    (24, 96, 32, 5, 2, 24),
    (32, 128, 32, 5, 1, 32),
    (32, 128, 32, 5, 1, 32),
    (32, 96, 32, 5, 1, 24),
    (32, 96, 32, 5, 1, 24),
)
_SOFT_FROM = 3  # the first block with hard swishes; those before it are rectified
_enlarged = partial(F.interpolate, scale_factor=2, mode="bilinear", align_corners=False)


def _mean(x: Tensor) -> Tensor:
    return x.mean(dim=(2, 3), keepdim=True)


class _Block(nn.Module):
    """An inverted bottleneck, with a gate of its channels or without (Hu et al. 2018)."""

    def __init__(
        self, inputs: int, width: int, outputs: int, kernel: int, stride: int, gate: int, soft: bool
    ) -> None:
        super().__init__()
        self.expand = nn.Conv2d(inputs, width, 1)
        self.depthwise = SameConv2d(width, width, kernel, stride, groups=width)
        self.project = nn.Conv2d(width, outputs, 1)
        self.gated, self.adds = bool(gate), stride == 1
        self.act = F.hardswish if soft else F.relu
        if gate:
            self.squeeze, self.excite = nn.Conv2d(width, gate, 1), nn.Conv2d(gate, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.act(self.depthwise(self.act(self.expand(x))))
        if self.gated:
            hidden = hidden * self.excite(F.relu(self.squeeze(_mean(hidden)))).sigmoid()
        hidden = self.project(hidden)
        return x + hidden if self.adds else hidden


class _Merge(nn.Module):
    """The coarse map, enlarged, into the finer one of the encoder, which it gates."""

    def __init__(self, coarse: int, width: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(coarse, width, 1)
        self.squeeze, self.excite = nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 1)
        self.mix = nn.Conv2d(width, width, 1)
        self.depthwise = SameConv2d(width, width, 3, groups=width)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        coarse = self.reduce(_enlarged(coarse))
        gate = self.excite(F.relu(self.squeeze(_mean(fine + coarse)))).sigmoid()
        hidden = F.relu(self.mix(fine * gate + coarse))
        return hidden + F.relu(self.depthwise(hidden))


class PersonMask(nn.Module):
    """[B, 3, H, W] RGB in [-1, 1] to the probability of the person, [B, 1, H, W] in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv2d(3, 16, 3, stride=2)
        self.blocks = nn.ModuleList(
            _Block(*numbers, soft=place >= _SOFT_FROM) for place, numbers in enumerate(_BLOCKS)
        )
        self.head, self.gate = nn.Conv2d(32, 128, 1), nn.Conv2d(32, 128, 1)
        self.merges = nn.ModuleList([_Merge(128, 24), _Merge(24, 16), _Merge(16, 16)])
        self.segment = nn.ConvTranspose2d(16, 1, 2, stride=2)

    def forward(self, images: Tensor) -> Tensor:
        """Pictures of any size: read at 256 px, the mask brought back to their own."""
        hidden = F.hardswish(self.stem(fit_to_input(images, SIDE).add(1).div(2)))
        finer = [hidden]
        for place, block in enumerate(self.blocks):
            hidden = block(hidden)
            if place in (0, 2):
                finer.append(hidden)
        hidden = F.relu(self.head(hidden)) * self.gate(_mean(hidden)).sigmoid()
        for merge, fine in zip(self.merges, reversed(finer), strict=True):
            hidden = merge(fine, hidden)
        mask = self.segment(hidden).sigmoid()
        size = images.shape[-2:]
        return F.interpolate(mask, size=size, mode="bilinear", antialias=True, align_corners=False)


def load_person_mask(path: Path | None = None) -> PersonMask:
    """The network with its published weights, frozen, in evaluation mode.

    Args:
        path: the converted file; None = the asset `selfie`.

    Raises:
        UserError: it is not fetched, or holds something else.
    """
    path = path or locate("selfie")
    network = PersonMask()
    load_strictly(network, read_tensors(path), path)
    return network.eval().requires_grad_(False)
