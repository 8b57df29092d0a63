"""SD 1.5's and SDXL 1.0's networks by their published configurations, on the meta device."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from sfe_core.diffusion.families import sd15, sdxl
from sfe_core.diffusion.loading import BaseModels
from sfe_core.synthesis.tiny.networks import make_scheduler

TOKENS = 77


def vae(scaling_factor: float, side: int) -> AutoencoderKL:
    """The VAE of both: 84 M parameters."""
    return AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=4,
        sample_size=side,
        scaling_factor=scaling_factor,
        force_upcast=False,
    ).requires_grad_(False)


def sd15_base() -> BaseModels:
    """860 M + 84 M + 123 M parameters."""
    with torch.device("meta"):
        return BaseModels(
            folder=Path("sd15"),
            family=sd15.FAMILY,
            vae=vae(0.18215, 512),
            unet=UNet2DConditionModel(
                sample_size=64,
                block_out_channels=(320, 640, 1280, 1280),
                layers_per_block=2,
                cross_attention_dim=768,
                attention_head_dim=8,
            ),
            text_encoders={"text_encoder": CLIPTextModel(_vit_l())},
            tokenizers={},
            scheduler=_scheduler(),
        )


def sdxl_base() -> BaseModels:
    """2.57 G + 84 M + 123 M + 695 M parameters."""
    with torch.device("meta"):
        return BaseModels(
            folder=Path("sdxl"),
            family=sdxl.FAMILY,
            vae=vae(0.13025, 1024),
            unet=UNet2DConditionModel(
                sample_size=128,
                block_out_channels=(320, 640, 1280),
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
                up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
                layers_per_block=2,
                transformer_layers_per_block=(1, 2, 10),
                cross_attention_dim=2048,
                attention_head_dim=(5, 10, 20),
                use_linear_projection=True,
                addition_embed_type="text_time",
                addition_time_embed_dim=256,
                projection_class_embeddings_input_dim=2816,
            ),
            text_encoders={
                "text_encoder": CLIPTextModel(_vit_l()),
                "text_encoder_2": CLIPTextModelWithProjection(
                    CLIPTextConfig(
                        vocab_size=49408,
                        hidden_size=1280,
                        intermediate_size=5120,
                        num_hidden_layers=32,
                        num_attention_heads=20,
                        projection_dim=1280,
                        hidden_act="gelu",
                    )
                ),
            },
            tokenizers={},
            scheduler=_scheduler(),
        )


def _vit_l() -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=49408,
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        projection_dim=768,
    )


def _scheduler():
    # Its numbers are real, and read on the CPU.
    with torch.device("cpu"):
        return make_scheduler()
