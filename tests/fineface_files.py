"""FineFace's files, random numbers under their published names."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from sfe_core.diffusion.unit_attention import cross_attentions

HIDDEN = 16


def fineface_states(unet: UNet2DConditionModel) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Projections and encoder that fit a UNet."""
    torch.manual_seed(0)
    layers = cross_attentions(unet)
    width = next(iter(layers.values())).to_k.in_features
    processors = {
        f"{name}.processor.au_to_{part}.weight": 0.3 * torch.randn(layer.to_k.out_features, width)
        for name, layer in layers.items()
        for part in ("k", "v")
    }
    encoder = {
        "au_encoder.weight": torch.randn(HIDDEN, 12),
        "au_encoder.bias": torch.randn(HIDDEN),
    }
    return processors, encoder


def write_fineface(folder: Path, base: Path, prefix: str = "sd15_") -> Path:
    """The folder, with files that fit the UNet of a base model."""
    folder.mkdir(parents=True, exist_ok=True)
    unet = UNet2DConditionModel.from_pretrained(base, subfolder="unet")
    names = "attn_processors.ckpt", "au_encoder.ckpt"
    for name, state in zip(names, fineface_states(unet), strict=True):
        torch.save(state, folder / f"{prefix}{name}")
    return folder
