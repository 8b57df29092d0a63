"""Stable Diffusion 1.5's shapes with random weights, and the networks of the full loss: for speed
and memory, which do not depend on what weights know."""

from __future__ import annotations

from pathlib import Path

import lpips
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from sfe_core.faces.recognition.emonet import EmoNet
from sfe_core.losses.perceptual import PerceptualDistance
from sfe_core.synthesis.tiny.networks import make_scheduler
from tests.tiny import make_tiny_tokenizer


def make_sd15(folder: Path) -> Path:
    """Save a pipeline of SD 1.5's layout (860 M + 84 M + 85 M parameters; few token embeddings)."""
    folder = Path(folder)
    torch.manual_seed(0)
    tokenizer = make_tiny_tokenizer()
    StableDiffusionPipeline(
        vae=AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
            latent_channels=4,
            sample_size=512,
        ),
        text_encoder=CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=768,
                intermediate_size=3072,
                num_hidden_layers=12,
                num_attention_heads=12,
                max_position_embeddings=77,
                bos_token_id=188,
                eos_token_id=189,
                pad_token_id=189,
            )
        ),
        tokenizer=tokenizer,
        unet=UNet2DConditionModel(
            sample_size=64,
            block_out_channels=(320, 640, 1280, 1280),
            layers_per_block=2,
            cross_attention_dim=768,
            attention_head_dim=8,
        ),
        scheduler=make_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


def make_emonet(path: Path) -> Path:
    """Save a random EmoNet for eight emotions as the official file is laid out."""
    state = {f"module.{name}": value for name, value in EmoNet(8).state_dict().items()}
    torch.save(state, path)
    return path


def random_lpips(name: str) -> PerceptualDistance:
    """LPIPS on VGG-16 with random weights, whatever `name` asks for."""
    del name
    network = lpips.LPIPS(net="vgg", pnet_rand=True, pretrained=False, verbose=False)
    return PerceptualDistance(network)
