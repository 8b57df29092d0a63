"""Stable Diffusion 1.x (Rombach et al. 2022, https://arxiv.org/abs/2112.10752)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    DiffusionPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from diffusers.utils import convert_state_dict_to_kohya
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer, PreTrainedModel

from sfe_core.diffusion.families.checks import SCHEDULE_FIELDS, check_latent_diffusion
from sfe_core.diffusion.families.clip_text import PAD, padded
from sfe_core.diffusion.families.contract import BaseConfigs, Part, Publishing, Texts
from sfe_core.diffusion.families.original import (
    OriginalCLIP,
    OriginalPart,
    OriginalUNet,
    OriginalVAE,
)
from sfe_core.diffusion.original_keys import (
    TEXT_PREFIX,
)
from sfe_core.diffusion.pipeline import GuidedPipeline, GuidedStableDiffusionPipeline

_PUBLISHING = Publishing(
    architecture="stable-diffusion-v1",
    kohya_base="sd_v1",
    unet_widths=(320, 640, 1280, 1280),
    latent_scale=0.18215,
    comfy_reads_marks=False,
    has_ldm_config=True,
    has_stableface_layout=True,
    tags=("stable-diffusion",),
)


@dataclass(frozen=True)
class StableDiffusion15:
    """See `contract.Family`."""

    name: str = "Stable Diffusion 1.5"
    pipeline: type[DiffusionPipeline] = StableDiffusionPipeline
    guided_pipeline: type[GuidedPipeline] = GuidedStableDiffusionPipeline
    publishing: Publishing = _PUBLISHING
    text_encoders: tuple[str, ...] = ("text_encoder",)
    tokenizers: tuple[str, ...] = ("tokenizer",)
    paddings: tuple[str, ...] = (PAD,)
    schedule_fields: tuple[str, ...] = SCHEDULE_FIELDS
    has_time_ids: bool = False
    tiny_decoders: tuple[str, ...] = ("taesd",)
    original: Mapping[str, OriginalPart] = field(
        default_factory=lambda: {
            "unet": OriginalUNet(sample_size=64),
            "vae": OriginalVAE(scaling_factor=0.18215, sample_size=512),
            "text_encoder": OriginalCLIP(TEXT_PREFIX),
        }
    )

    def parts(self, base: BaseConfigs) -> dict[str, Part]:
        """Folder of a part to the class that loads it."""
        return {
            "vae": AutoencoderKL,
            "unet": UNet2DConditionModel,
            "text_encoder": CLIPTextModel,
            "tokenizer": CLIPTokenizer,
            "scheduler": DDPMScheduler,
        }

    def recognises(self, base: BaseConfigs) -> bool:
        """Whether there is one text encoder, and the UNet takes nothing but its states."""
        return (
            base.has("unet", "vae", "text_encoder")
            and not base.has("text_encoder_2")
            and base.of("unet").get("addition_embed_type") is None
        )

    def check(self, base: BaseConfigs, where: str) -> None:
        """Refuse a base whose parts do not go together; see `check_latent_diffusion`."""
        check_latent_diffusion(base, where, base.of("text_encoder").get("hidden_size"))

    def encode(
        self,
        tokenizers: Sequence[CLIPTokenizer],
        encoders: Sequence[PreTrainedModel],
        captions: Sequence[str],
    ) -> Texts:
        """Last hidden states [B, L, D], as StableDiffusionPipeline feeds them."""
        tokens = padded(tokenizers[0], captions)
        device = encoders[0].device
        return self.encode_tokens(
            encoders, tokens.input_ids.to(device), tokens.attention_mask.to(device)
        )

    def encode_tokens(
        self, encoders: Sequence[PreTrainedModel], tokens: Tensor, mask: Tensor | None = None
    ) -> Texts:
        """Last hidden states [B, L, D] of ids [B, L]."""
        (network,) = encoders
        masked = getattr(network.config, "use_attention_mask", False)
        return Texts(network(tokens, attention_mask=mask if masked else None)[0])

    def unconditional(self, empty: Texts, index: Mapping[str, Any]) -> Texts:
        """The empty caption."""
        return empty

    def pooled_width(self, base: BaseConfigs) -> int:
        """0."""
        return 0

    def kohya_lora(
        self, tensors: Mapping[str, Tensor], unet: UNet2DConditionModel
    ) -> dict[str, Tensor]:
        """diffusers' names, joined by underscores."""
        # With a single text encoder, readers look for `te`; `te1` is the first of two.
        return {
            name.replace("lora_te1_", "lora_te_", 1): tensor
            for name, tensor in convert_state_dict_to_kohya(dict(tensors)).items()
        }

    def conditions(self, texts: Texts, time_ids: Tensor | None = None) -> dict[str, Any]:
        """The hidden states alone."""
        return {"encoder_hidden_states": texts.states}

    def added_conditions(self, texts: Texts, time_ids: Tensor | None) -> dict[str, Tensor] | None:
        """None."""
        return None


FAMILY = StableDiffusion15()
