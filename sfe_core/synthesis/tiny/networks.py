"""The tiny Stable Diffusion's parts: the classes of SD 1.5 with fewer and narrower layers."""

from __future__ import annotations

import json
from collections.abc import Iterable

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from sfe_core.network_layout import plain_attention, to_channels_last
from sfe_core.synthesis.tiny.settings import Settings

START, END = "<|startoftext|>", "<|endoftext|>"


def make_vae(settings: Settings) -> AutoencoderKL:
    """Autoencoder of 128 px images to [8, 16, 16] latents: one eighth of the side.

    Four channels, as Stable Diffusion 1.5 has, lose eyes and colours of faces this small.

    Narrow where it is large: fine-tuning decodes pictures within its loss, on CPUs too.
    """
    levels = len(settings.vae_channels)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=settings.vae_channels,
        layers_per_block=1,
        latent_channels=settings.latent_channels,
        norm_num_groups=8,
        sample_size=settings.image_px,
        mid_block_add_attention=False,
    )


def make_unet(settings: Settings) -> UNet2DConditionModel:
    """Epsilon-predicting UNet on [8, 16, 16] latents, text attended at 8 x 8 and 4 x 4."""
    return UNet2DConditionModel(
        in_channels=settings.latent_channels,
        out_channels=settings.latent_channels,
        sample_size=settings.image_px // 2 ** (len(settings.vae_channels) - 1),
        block_out_channels=settings.unet_channels,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=settings.text_width,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def lay_out_unet(unet: UNet2DConditionModel, device: torch.device) -> UNet2DConditionModel:
    """The UNet as it trains fastest on a device, in place; it computes the same."""
    if device.type == "cpu":
        plain_attention(unet)  # channels last would cost an eighth there
    else:
        to_channels_last(unet)
    return unet


def make_scheduler() -> DDPMScheduler:
    """The noise schedule of Stable Diffusion 1.5."""
    return DDPMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        steps_offset=1,
    )


def train_tokenizer(captions: Iterable[str], settings: Settings) -> CLIPTokenizer:
    """CLIP's byte-level BPE with a vocabulary of its own, learnt from `captions`.

    All 256 bytes are in it, inside and at the end of a word, so that no word is unknown.
    """
    plain = CLIPTokenizer(vocab={START: 0, END: 1}, merges=[]).backend_tokenizer
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token=END))
    bpe.normalizer, bpe.pre_tokenizer = plain.normalizer, plain.pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocabulary,
        special_tokens=[START, END],
        end_of_word_suffix="</w>",
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(captions, trainer)
    merges = [tuple(pair) for pair in json.loads(bpe.to_str())["model"]["merges"]]
    # Numbered here: the trainer's numbers of single letters differ from process to process, and a
    # base that goes on training in another process would read other letters.
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [START, END, *letters, *(letter + "</w>" for letter in letters), *map("".join, merges)]
    return CLIPTokenizer(
        vocab={token: number for number, token in enumerate(dict.fromkeys(tokens))},
        merges=merges,  # type: ignore[arg-type]  # its backend takes pairs, as it gives them
        model_max_length=settings.text_tokens,
    )


def make_text_encoder(tokenizer: CLIPTokenizer, settings: Settings) -> CLIPTextModel:
    """A CLIP text transformer, four layers of 128."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.text_width,
        intermediate_size=4 * settings.text_width,
        num_hidden_layers=settings.text_layers,
        num_attention_heads=4,
        max_position_embeddings=settings.text_tokens,
        projection_dim=settings.text_width,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)
