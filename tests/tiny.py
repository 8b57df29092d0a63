"""Random-weight models and pictures, small enough that a test takes seconds.

Nothing here is trained: use it to test plumbing, shapes, gradients and determinism, never quality.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

_START, _END = "<|startoftext|>", "<|endoftext|>"


def make_tiny_base(folder: Path, resolution: int = 32, seed: int = 0) -> Path:
    """Save a Stable Diffusion pipeline of some 350 k random parameters in `folder`.

    The VAE halves twice (latents are resolution / 4), the UNet has two levels, the text encoder two
    layers and a vocabulary of single letters. `StableDiffusionPipeline.from_pretrained` loads it.
    """
    folder = Path(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pipeline = StableDiffusionPipeline(
            vae=_vae(resolution),
            text_encoder=_text_encoder(),
            tokenizer=make_tiny_tokenizer(),
            unet=_unet(resolution),
            scheduler=DDPMScheduler(
                beta_schedule="scaled_linear",
                beta_start=0.00085,
                beta_end=0.012,
                clip_sample=False,
                steps_offset=1,
            ),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.save_pretrained(folder)
    return folder


def make_tiny_tokenizer() -> CLIPTokenizer:
    """A CLIP tokenizer that knows single letters, digits and punctuation, through real files."""
    letters = [chr(code) for code in range(33, 127)]
    words = letters + [letter + "</w>" for letter in letters] + [_START, _END]
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = {word: index for index, word in enumerate(words)}
        Path(folder, "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
        Path(folder, "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
        return CLIPTokenizer.from_pretrained(folder, model_max_length=32)


def _vae(resolution: int) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=resolution,
    )


def _unet(resolution: int) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=resolution // 4,
        block_out_channels=(16, 32),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=32,
        attention_head_dim=4,
        norm_num_groups=4,
    )


def _text_encoder() -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=190,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=32,
            bos_token_id=188,
            eos_token_id=189,
            pad_token_id=189,
        )
    )
