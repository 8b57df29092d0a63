"""Diffusion on pixels (Ho et al. 2020, https://arxiv.org/abs/2006.11239): no VAE, no text.

A picture in [-1, 1] is its own latent. The UNet is a UNet2DModel, or a UNet2DConditionModel whose
blocks have no cross attention; whether it takes more channels than a picture's is the recipe's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from diffusers import (
    AutoencoderKL,
    DDPMPipeline,
    DDPMScheduler,
    DiffusionPipeline,
    UNet2DConditionModel,
    UNet2DModel,
)
from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from torch import Tensor, nn
from transformers import CLIPTokenizer, PreTrainedModel

from sfe_core.diffusion.families.checks import SCHEDULE_FIELDS, check_noise_prediction
from sfe_core.diffusion.families.contract import BaseConfigs, Part, Publishing, Texts
from sfe_core.diffusion.families.original import OriginalPart
from sfe_core.diffusion.pipeline import GuidedPipeline
from sfe_core.errors import UserError

_PICTURE = 3  # channels


class PixelSpace(AutoencoderKL):
    """Where an autoencoder stands, and changes nothing: [B, 3, H, W] in [-1, 1] both ways."""

    @register_to_config
    def __init__(
        self,
        latent_channels: int = _PICTURE,
        block_out_channels: Sequence[int] = (_PICTURE,),
        scaling_factor: float = 1.0,
    ) -> None:
        nn.Module.__init__(self)  # none of the parent's layers
        self.gradient_checkpointing = False

    def encode(self, x: Tensor, return_dict: bool = True) -> Any:
        """A distribution that is the pictures themselves, with no spread."""
        posterior = DiagonalGaussianDistribution(torch.cat([x, x], dim=1), deterministic=True)
        return AutoencoderKLOutput(latent_dist=posterior) if return_dict else (posterior,)

    def decode(self, z: Tensor, return_dict: bool = True, generator: Any = None) -> Any:
        """The pictures themselves."""
        return DecoderOutput(sample=z) if return_dict else (z,)


@dataclass(frozen=True)
class Pixels:
    """See `contract.Family`."""

    name: str = "a diffusion model of pixels"
    pipeline: type[DiffusionPipeline] = DDPMPipeline
    text_encoders: tuple[str, ...] = ()
    tokenizers: tuple[str, ...] = ()
    paddings: tuple[str, ...] = ()
    schedule_fields: tuple[str, ...] = SCHEDULE_FIELDS
    has_time_ids: bool = False
    tiny_decoders: tuple[str, ...] = ()

    @property
    def original(self) -> Mapping[str, OriginalPart]:
        """None: there is no other layout of it."""
        return {}

    @property
    def guided_pipeline(self) -> type[GuidedPipeline]:
        """Refused: no pipeline here guides it by maps."""
        _refuse()

    @property
    def publishing(self) -> Publishing:
        """Refused: no other program knows it."""
        _refuse()

    def parts(self, base: BaseConfigs) -> dict[str, Part]:
        """Folder of a part to the class that loads it."""
        conditional = base.of("unet").get("_class_name") == UNet2DConditionModel.__name__
        unet = UNet2DConditionModel if conditional else UNet2DModel
        return {"unet": unet, "scheduler": DDPMScheduler}

    def recognises(self, base: BaseConfigs) -> bool:
        """Whether there is a UNet and neither VAE nor text encoder."""
        return base.has("unet", "scheduler") and not any(
            base.has(name) for name in ("vae", "vqvae", "text_encoder", "text_encoder_2")
        )

    def check(self, base: BaseConfigs, where: str) -> None:
        """Refuse a UNet that draws other than pictures, or attends to texts."""
        unet = base.of("unet")
        given = unet.get("out_channels", _PICTURE)
        if given != _PICTURE:
            raise UserError(
                f"{where}: {base.place}",
                f"its UNet gives {given} channels, and pictures have {_PICTURE}",
                "give a model of pictures in colour",
            )
        blocks = (*unet.get("down_block_types", ()), *unet.get("up_block_types", ()))
        if any("CrossAttn" in block for block in blocks):
            raise UserError(
                f"{where}: {base.place}",
                "its UNet attends to texts, and no text encoder is there",
                "give a UNet without cross attention",
            )
        check_noise_prediction(base, where)

    def encode(
        self,
        tokenizers: Sequence[CLIPTokenizer],
        encoders: Sequence[PreTrainedModel],
        captions: Sequence[str],
    ) -> Texts:
        """Nothing: [B, 0, 0]."""
        return Texts(torch.empty(len(captions), 0, 0))

    def encode_tokens(
        self, encoders: Sequence[PreTrainedModel], tokens: Tensor, mask: Tensor | None = None
    ) -> Texts:
        """Nothing: [B, 0, 0]."""
        return Texts(torch.empty(len(tokens), 0, 0))

    def unconditional(self, empty: Texts, index: Mapping[str, Any]) -> Texts:
        """Nothing either."""
        return empty

    def pooled_width(self, base: BaseConfigs) -> int:
        """0."""
        return 0

    def kohya_lora(
        self, tensors: Mapping[str, Tensor], unet: UNet2DConditionModel
    ) -> dict[str, Tensor]:
        """Refused: no other program knows it."""
        _refuse()

    def conditions(self, texts: Texts, time_ids: Tensor | None = None) -> dict[str, Any]:
        """Nothing."""
        return {}

    def added_conditions(self, texts: Texts, time_ids: Tensor | None) -> dict[str, Tensor] | None:
        """None."""
        return None


def _refuse() -> NoReturn:
    raise UserError(
        "model.base",
        "a diffusion model of pixels has no pipeline that follows maps and no form for other "
        "programs",
        "draw with what its recipe packages",
    )


FAMILY = Pixels()
