"""Stable Diffusion XL (Podell et al. 2023, https://arxiv.org/abs/2307.01952): two text encoders.

Beside their states, the UNet is told the second one's pooled text, and the size and crop of the
picture ("time ids", sec. 2.2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    DiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusers.utils import convert_state_dict_to_kohya
from torch import Tensor
from transformers import (
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    PreTrainedModel,
)

from sfe_core.diffusion.families.checks import SCHEDULE_FIELDS, check_latent_diffusion
from sfe_core.diffusion.families.clip_text import PAD, tokenize
from sfe_core.diffusion.families.contract import BaseConfigs, Part, Publishing, Texts
from sfe_core.diffusion.families.original import (
    TIME_IDS,
    OriginalCLIP,
    OriginalOpenCLIP,
    OriginalPart,
    OriginalUNet,
    OriginalVAE,
)
from sfe_core.diffusion.original_keys import (
    XL_TEXT_PREFIXES,
    unet_renaming,
)
from sfe_core.diffusion.pipeline import GuidedPipeline, GuidedStableDiffusionXLPipeline
from sfe_core.errors import UserError

_PUBLISHING = Publishing(
    architecture="stable-diffusion-xl-v1-base",
    kohya_base="sdxl_base_v1-0",
    unet_widths=(320, 640, 1280),
    latent_scale=0.13025,
    comfy_reads_marks=True,
    has_ldm_config=False,
    has_stableface_layout=False,
    tags=("stable-diffusion-xl",),
)


@dataclass(frozen=True)
class StableDiffusionXL:
    """See `contract.Family`."""

    name: str = "Stable Diffusion XL"
    pipeline: type[DiffusionPipeline] = StableDiffusionXLPipeline
    guided_pipeline: type[GuidedPipeline] = GuidedStableDiffusionXLPipeline
    publishing: Publishing = _PUBLISHING
    text_encoders: tuple[str, ...] = ("text_encoder", "text_encoder_2")
    tokenizers: tuple[str, ...] = ("tokenizer", "tokenizer_2")
    paddings: tuple[str, ...] = (PAD, "!")
    schedule_fields: tuple[str, ...] = SCHEDULE_FIELDS
    has_time_ids: bool = True
    tiny_decoders: tuple[str, ...] = ()
    original: Mapping[str, OriginalPart] = field(
        default_factory=lambda: {
            "unet": OriginalUNet(128, pooled=f"{XL_TEXT_PREFIXES[1]}text_projection"),
            "vae": OriginalVAE(scaling_factor=0.13025, sample_size=1024),
            "text_encoder": OriginalCLIP(XL_TEXT_PREFIXES[0]),
            "text_encoder_2": OriginalOpenCLIP(XL_TEXT_PREFIXES[1]),
        }
    )

    def parts(self, base: BaseConfigs) -> dict[str, Part]:
        """Folder of a part to the class that loads it."""
        return {
            "vae": AutoencoderKL,
            "unet": UNet2DConditionModel,
            "text_encoder": CLIPTextModel,
            "text_encoder_2": CLIPTextModelWithProjection,
            "tokenizer": CLIPTokenizer,
            "tokenizer_2": CLIPTokenizer,
            "scheduler": DDPMScheduler,
        }

    def recognises(self, base: BaseConfigs) -> bool:
        """Whether there are two text encoders, and the UNet takes pooled text and time ids."""
        return (
            base.has("unet", "vae", "text_encoder", "text_encoder_2")
            and not base.has("text_encoder_3")
            and base.of("unet").get("addition_embed_type") == "text_time"
        )

    def check(self, base: BaseConfigs, where: str) -> None:
        """Refuse a base whose parts do not go together; see `check_latent_diffusion`.

        Raises:
            UserError: also where the pooled text and the time ids are not as wide as the UNet
                takes them.
        """
        widths = [base.of(name).get("hidden_size") for name in self.text_encoders]
        check_latent_diffusion(base, where, sum(width or 0 for width in widths))
        unet, pooled = base.of("unet"), base.of("text_encoder_2").get("projection_dim", 0)
        given = pooled + TIME_IDS * (unet.get("addition_time_embed_dim") or 0)
        wanted = unet.get("projection_class_embeddings_input_dim")
        if given != wanted:
            raise UserError(
                f"{where}: {base.place}",
                f"pooled text and time ids are {given} numbers, and the UNet takes {wanted}",
                "give the second text encoder that belongs to this UNet",
            )

    def encode(
        self,
        tokenizers: Sequence[CLIPTokenizer],
        encoders: Sequence[PreTrainedModel],
        captions: Sequence[str],
    ) -> Texts:
        """States [B, L, D1 + D2] and pooled text [B, P], as the pipeline feeds them."""
        return self.encode_tokens(encoders, tokenize(tokenizers, captions))

    def encode_tokens(
        self, encoders: Sequence[PreTrainedModel], tokens: Tensor, mask: Tensor | None = None
    ) -> Texts:
        """Last states but one of both encoders, and the second one's projected end of text."""
        said = [
            network(ids.to(network.device), output_hidden_states=True)
            for network, ids in zip(encoders, tokens.chunk(len(encoders), dim=1), strict=True)
        ]
        return Texts(torch.cat([one.hidden_states[-2] for one in said], dim=-1), said[-1][0])

    def unconditional(self, empty: Texts, index: Mapping[str, Any]) -> Texts:
        """Zeros where the pipeline says so, as SDXL was trained; else the empty caption."""
        if not index.get("force_zeros_for_empty_prompt", True):
            return empty
        pooled = None if empty.pooled is None else torch.zeros_like(empty.pooled)
        return Texts(torch.zeros_like(empty.states), pooled)

    def pooled_width(self, base: BaseConfigs) -> int:
        """Of the second text encoder's projection."""
        return int(base.of("text_encoder_2")["projection_dim"])

    def kohya_lora(
        self, tensors: Mapping[str, Tensor], unet: UNet2DConditionModel
    ) -> dict[str, Tensor]:
        """The original names joined by underscores, as kohya trains SDXL's UNet under those."""
        original = unet_renaming(unet.state_dict(), unet.config.layers_per_block)

        def renamed(name: str) -> str:
            part, _, place = name.partition(".")
            layer, mark, end = place.partition(".lora_")
            if part != "unet":
                return name
            return f"unet.{original(f'{layer}.weight').removesuffix('.weight')}{mark}{end}"

        return convert_state_dict_to_kohya({renamed(name): one for name, one in tensors.items()})

    def conditions(self, texts: Texts, time_ids: Tensor | None = None) -> dict[str, Any]:
        """The hidden states, the pooled text and the time ids."""
        return {
            "encoder_hidden_states": texts.states,
            "added_cond_kwargs": self.added_conditions(texts, time_ids),
        }

    def added_conditions(self, texts: Texts, time_ids: Tensor | None) -> dict[str, Tensor] | None:
        """`text_embeds` [B, P] and `time_ids` [B, 6]."""
        assert texts.pooled is not None and time_ids is not None
        return {"text_embeds": texts.pooled, "time_ids": time_ids.to(texts.pooled)}


FAMILY = StableDiffusionXL()
