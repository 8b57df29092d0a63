"""Random UNets with the levels of Stable Diffusion 1.5 and XL, narrow enough for tests."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

TEXT, POOLED = 24, 20
SD15: dict[str, Any] = {
    "block_out_channels": (16, 24, 32, 32),
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    "layers_per_block": 2,
    "cross_attention_dim": TEXT,
    "attention_head_dim": 4,
    "norm_num_groups": 4,
}
SDXL: dict[str, Any] = SD15 | {
    "block_out_channels": (16, 24, 32),
    "down_block_types": ("DownBlock2D",) + ("CrossAttnDownBlock2D",) * 2,
    "up_block_types": ("CrossAttnUpBlock2D",) * 2 + ("UpBlock2D",),
    "transformer_layers_per_block": (1, 2, 3),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 6 * 8 + POOLED,
}


def unet_of(shape: dict[str, Any], seed: int = 0) -> UNet2DConditionModel:
    """A UNet with random weights; the same ones for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return UNet2DConditionModel(**shape).eval()


def inputs_of(
    unet: UNet2DConditionModel, batch: int, height: int, width: int, time: int = 500, seed: int = 0
) -> dict[str, Any]:
    """What such a UNet is called with, [batch, 4, height, width], texts of 7 tokens."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(unet.dtype)

    called: dict[str, Any] = {
        "sample": random(batch, 4, height, width),
        "timestep": torch.tensor(time),
        "encoder_hidden_states": random(batch, 7, TEXT),
    }
    if unet.config["addition_embed_type"]:
        called["added_cond_kwargs"] = {
            "text_embeds": random(batch, POOLED),
            "time_ids": 64 * random(batch, 6).abs(),
        }
    return called
