"""The detail decoder of DECA (Feng et al. 2021, equation 5): codes to a displacement map."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from sfe_core.faces.emoca.encoders import FaceCodes
from sfe_core.faces.emoca.settings import EmocaSettings

# The map's values are a tanh times this many metres.
MAX_DISPLACEMENT_M = 0.01
_WIDTHS = (128, 128, 64, 64, 32, 16)
_START_PX = 8


class DetailDecoder(nn.Module):
    """A linear layer to 8 × 8, then five times twice the size; named as in the checkpoints."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.l1 = nn.Sequential(nn.Linear(inputs, _WIDTHS[0] * _START_PX**2))
        parts: list[nn.Module] = [nn.BatchNorm2d(_WIDTHS[0])]
        for before, after in pairwise(_WIDTHS):
            parts += [
                nn.Upsample(scale_factor=2, mode="bilinear"),
                nn.Conv2d(before, after, 3, padding=1),
                nn.BatchNorm2d(after, eps=0.8),
                nn.LeakyReLU(0.2),
            ]
        parts += [nn.Conv2d(_WIDTHS[-1], 1, 3, padding=1), nn.Tanh()]
        self.conv_blocks = nn.Sequential(*parts)

    def forward(self, condition: Tensor) -> Tensor:
        """[B, inputs] to displacements [B, 1, 256, 256] along the normals, metres within ±0.01."""
        start = self.l1(condition).view(-1, _WIDTHS[0], _START_PX, _START_PX)
        return self.conv_blocks(start) * MAX_DISPLACEMENT_M


def detail_condition(codes: FaceCodes, settings: EmocaSettings) -> Tensor:
    """What the decoder is told, [B, settings.condition_length], in the order of `CONDITIONS`."""
    parts = {
        "globalpose": codes.pose[:, :3],
        "jawpose": codes.pose[:, 3:],
        "identity": codes.shape,
        "expression": codes.exp,
        "detail": codes.detail,
    }
    return torch.cat([parts[name] for name in settings.detail_conditioning], 1)
