"""Small rigs with random weights, none of which are zero, so that every layer has its effect."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from sfe_core.diffusion.physical.diffusion_rig import DiffusionRig

SMALL: dict[str, Any] = {
    "image_size": 32,
    "base_width": 32,
    "multipliers": (1, 2),
    "encoder_width": 8,
    "latent_width": 6,
}


def randomise(network: nn.Module, seed: int = 5) -> None:
    """Give every parameter and every running average a value of its own."""
    drawn = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        fan = parameter[0].numel() if parameter.ndim > 1 else 4
        parameter.data = torch.randn(parameter.shape, generator=drawn) / fan**0.5
    for name, buffer in network.named_buffers():
        if buffer.is_floating_point():
            buffer.copy_(torch.rand(buffer.shape, generator=drawn) + float("var" in name) / 2)


def small_rig(**changes: Any) -> DiffusionRig:
    """One of 32 px, two levels wide 32 and 64, with random weights, in evaluation mode."""
    rig = DiffusionRig(**{**SMALL, **changes})
    randomise(rig)
    return rig.eval()


def inputs(batch: int = 2, size: int = 32) -> dict[str, torch.Tensor]:
    """What a rig is called with: noise, times, buffers and pictures."""
    drawn = torch.Generator().manual_seed(1)
    return {
        "noisy": torch.randn(batch, 3, size, size, generator=drawn),
        "timesteps": torch.tensor([417, 3, 999, 80])[:batch],
        "buffers": torch.rand(batch, 9, size, size, generator=drawn),
        "pictures": torch.rand(batch, 3, size, size, generator=drawn) * 2 - 1,
    }
