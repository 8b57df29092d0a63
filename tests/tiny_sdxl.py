"""A random SDXL, small enough that a test takes seconds: every part and class of the real one."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
)

from sfe_core.assets import locate

WIDTHS, POOLED_WIDTH, TIME_ID_WIDTH = (32, 48), 40, 8


def make_tiny_sdxl(folder: Path, resolution: int = 32, seed: int = 0) -> Path:
    """Save an SDXL pipeline of some 400 k random parameters in `folder`.

    The VAE halves twice (latents are resolution / 4), the UNet has two levels, the second of them
    with two transformer layers; the two text encoders are of different width and activation, and
    their tokenizers, those of the shipped tiny-sd, pad differently, as SDXL's own do.
    """
    folder = Path(folder)
    first = CLIPTokenizer.from_pretrained(locate("tiny-sd") / "tokenizer")
    second = CLIPTokenizer.from_pretrained(locate("tiny-sd") / "tokenizer", pad_token="!")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pipeline = StableDiffusionXLPipeline(
            vae=_vae(resolution),
            text_encoder=CLIPTextModel(_text_config(first, WIDTHS[0], "quick_gelu")),
            text_encoder_2=CLIPTextModelWithProjection(_text_config(second, WIDTHS[1], "gelu")),
            tokenizer=first,
            tokenizer_2=second,
            unet=_unet(resolution),
            scheduler=EulerDiscreteScheduler(
                beta_start=0.00085,
                beta_end=0.012,
                beta_schedule="scaled_linear",
                timestep_spacing="leading",
                steps_offset=1,
            ),
            force_zeros_for_empty_prompt=True,
            add_watermarker=False,
        )
        pipeline.save_pretrained(folder)
    return folder


def _text_config(tokenizer: CLIPTokenizer, width: int, activation: str) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=tokenizer.model_max_length,
        hidden_act=activation,
        projection_dim=POOLED_WIDTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _vae(resolution: int) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=resolution,
        scaling_factor=0.13025,
    )


def _unet(resolution: int) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=resolution // 4,
        block_out_channels=(16, 32),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        transformer_layers_per_block=(1, 2),
        cross_attention_dim=sum(WIDTHS),
        attention_head_dim=(2, 4),
        norm_num_groups=4,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=TIME_ID_WIDTH,
        projection_class_embeddings_input_dim=6 * TIME_ID_WIDTH + POOLED_WIDTH,
    )
