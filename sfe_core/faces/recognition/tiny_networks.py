"""What this project's small readers of faces are made of, and how they are loaded.

There are two kinds of body. Readers come in pairs of one of each, so that one can drive a loss
while the other, which works in another way and saw other faces, judges the result.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from sfe_core.assets import locate
from sfe_core.errors import UserError

STAGES_PX = 64  # the stem brings larger pictures down to this side


def make_stem(input_px: int, channels: int) -> nn.Conv2d:
    """First convolution of a residual body: [B, 3, S, S] to [B, channels, s, s], s at most 64.

    Its kernel is a multiple of its stride where it has one, so that every pixel has the same
    number of ways into the network: gradients of a loss then show no grid.
    """
    stride = max(1, input_px // STAGES_PX)
    return nn.Conv2d(3, channels, stride + 2, stride, 1)


class _Residual(nn.Module):
    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.norm1 = nn.GroupNorm(8, channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.norm2 = nn.GroupNorm(8, channels_out)
        self.shortcut = nn.Conv2d(channels_in, channels_out, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.silu(self.norm1(self.conv1(x)))
        return F.silu(self.norm2(self.conv2(hidden)) + self.shortcut(x))


def residual_stages(channels: tuple[int, ...]) -> nn.Sequential:
    """One block a width, each halving the side (He et al. 2016), GroupNorm, SiLU.

    SiLU keeps its gradient smooth, which is what a loss network is for.
    """
    widths = (channels[0], *channels)
    return nn.Sequential(*(_Residual(a, b, 2) for a, b in pairwise(widths)))


class _ConvNextBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.BatchNorm2d(channels)
        self.expand = nn.Conv2d(channels, channels * 3, 1)
        self.project = nn.Conv2d(channels * 3, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.project(F.gelu(self.expand(self.norm(self.depthwise(x)))))


def patch_stages(channels: tuple[int, ...], blocks: tuple[int, ...]) -> nn.Sequential:
    """Patches of 4 px, large depth-wise kernels (after ConvNeXt, Liu et al. 2022).

    Args:
        channels: width of each stage; the side is halved between two.
        blocks: of each stage.
    """
    layers: list[nn.Module] = [nn.Conv2d(3, channels[0], 4, 4)]
    for stage, (width, depth) in enumerate(zip(channels, blocks, strict=True)):
        if stage:
            layers.append(nn.Conv2d(channels[stage - 1], width, 2, 2))
        layers += [_ConvNextBlock(width) for _ in range(depth)]
    return nn.Sequential(*layers)


def load_tiny(name_or_path: str | Path, kinds: Mapping[str, Any], what: str) -> nn.Module:
    """One of this project's networks, frozen, in evaluation mode and full precision.

    Args:
        name_or_path: an asset's name, or a folder with `config.json` and safetensors weights.
        kinds: class by the name that `config.json` gives.
        what: it should be, for the error.

    Raises:
        UserError: the asset is missing, or what lies there is of no such kind.
    """
    path = locate(name_or_path)
    try:
        kind = json.loads((path / "config.json").read_text(encoding="utf-8"))["_class_name"]
        network: nn.Module = kinds[kind].from_pretrained(path)
    except (OSError, KeyError, json.JSONDecodeError) as error:
        raise UserError(path, f"is not {what} ({error})", f"known: {', '.join(kinds)}") from error
    # Shipped in half precision; read in full.
    return network.float().eval().requires_grad_(False)
