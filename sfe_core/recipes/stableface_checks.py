"""Whether base model, guidance encoders, noise schedule and loss of a run go together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from sfe_core.assets import locate
from sfe_core.assets.needs import (
    loss_models,
    require_independent_identity_judge,
    require_independent_judge,
)
from sfe_core.assets.registry import registry
from sfe_core.config.model import Config
from sfe_core.config.stableface_sections import LossConfig
from sfe_core.diffusion.families.contract import BaseConfigs, Family
from sfe_core.diffusion.guidance import GuidanceBank
from sfe_core.diffusion.guided_unet import GuidedUNet
from sfe_core.diffusion.handed_over import BASE_REMEDY
from sfe_core.diffusion.loading import check_base
from sfe_core.diffusion.noise_schedule import schedule_changes
from sfe_core.diffusion.prediction import PREDICTION_TYPES
from sfe_core.errors import UserError
from sfe_core.losses.composite import CRAFTING_TERMS, PERCEPTUAL, PIXEL_TERMS, TERMS
from sfe_core.losses.perceptual import require_perceptual
from sfe_core.losses.timestep_window import pixel_window
from sfe_core.recipes.shared.unet import make_text_trainable, make_trainable


def check_fit(config: Config, base: Path) -> GuidedUNet:
    """Check that base, guidance and training go together; return the networks without weights.

    Raises:
        UserError: naming the field of sfe.yaml that does not fit.
    """
    family, base_configs = check_base(base)
    if not family.text_encoders:
        raise UserError(
            f"model.base: {base}",
            f"is {family.name}, and this recipe learns latents of captioned faces",
            BASE_REMEDY,
        )
    vae, unet_config = (base_configs.of(part) for part in ("vae", "unet"))
    scheduler = run_scheduler(config, base_configs)
    factor = 2 ** (len(vae["block_out_channels"]) - 1)
    halvings = len(config.guidance.block_channels) - 1
    if config.guidance.maps and 2**halvings != factor:
        raise UserError(
            "guidance.block_channels",
            f"{len(config.guidance.block_channels)} widths shrink a map {2**halvings} times, the "
            f"base's VAE shrinks {factor} times",
            f"give {factor.bit_length()} widths",
        )
    stages = factor * 2 ** (len(unet_config["block_out_channels"]) - 1)
    if config.model.resolution % stages:
        raise UserError(
            "model.resolution",
            f"{config.model.resolution} px cannot be halved as often as this base does",
            f"give a multiple of {stages}",
        )
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(unet_config)
        bank = GuidanceBank(
            config.guidance.maps, config.guidance.block_channels, unet.conv_in.out_channels
        )
    make_trainable(unet, config.train)
    text_encoder = None
    if config.train.text_encoder:
        require_one_text_encoder(family)
        with torch.device("meta"):
            text_encoder = CLIPTextModel(
                CLIPTextConfig.from_dict(dict(base_configs.of("text_encoder")))
            )
        make_text_trainable(text_encoder, config.train)
    if needs_pixels(config.loss):
        require_decoder(config.loss.pixel_decoder, family)
        pixel_window(config.loss, scheduler.alphas_cumprod)
    return GuidedUNet(unet, bank, text_encoder)


def require_decoder(name: str, family: Family) -> None:
    """Refuse an asset that decodes another family's latents: the shapes are often the same.

    Raises:
        UserError: it does.
    """
    if name in registry() and name not in family.tiny_decoders:
        raise UserError(
            "loss.pixel_decoder", f"{name} does not decode latents of {family.name}", "use vae"
        )


def require_one_text_encoder(family: Family) -> None:
    """Refuse to train the text encoder of a family that has several.

    Raises:
        UserError: it has.
    """
    count = len(family.text_encoders)
    if count > 1:
        raise UserError(
            "train.text_encoder",
            f"{family.name} has {count} text encoders, and only a single one can be trained",
            "set it to false",
        )


def run_scheduler(config: Config, base: BaseConfigs) -> DDPMScheduler:
    """The noise schedule that a run over `base` trains on.

    Raises:
        UserError: the base predicts what cannot be trained, or the schedule asked for does not fit.
    """
    settings = dict(base.of("scheduler"))
    kind = settings.get("prediction_type", "epsilon")
    if kind not in PREDICTION_TYPES and config.model.prediction == "base":
        raise UserError(
            "model.base: scheduler/prediction_type",
            f"{kind!r} cannot be trained",
            f"allowed: {', '.join(PREDICTION_TYPES)}",
        )
    return DDPMScheduler.from_config(settings, **schedule_changes(settings, config.model))


def needs_pixels(loss: LossConfig) -> bool:
    """Whether any term with a weight looks at decoded images."""
    return any(getattr(loss, name) > 0 for name in PIXEL_TERMS)


def schedule_notes(config: Config) -> list[str]:
    """What to tell of settings that are allowed but work against each other."""
    if config.model.zero_terminal_snr and config.train.snr_gamma is not None:
        return [
            "model.zero_terminal_snr: min-SNR weighting gives the last timesteps no weight, so "
            "they are not learnt; set train.snr_gamma: null"
        ]
    return []


def label_notes(loss: LossConfig, rows: pd.DataFrame) -> list[str]:
    """What to tell of faces that lack a label which the loss aims at.

    Args:
        loss: section of sfe.yaml.
        rows: the training split's, of the manifest.
    """
    wanted = [name for name in ("valence", "arousal") if getattr(loss, name) > 0]
    if loss.emotion_target != "label":
        wanted = []
    if loss.expression > 0 and loss.expression_loss == "cross-entropy":
        wanted.append("emotion")
    gaps = {name: int(rows[name].isna().sum()) for name in wanted}
    return [
        f"{missing} of {len(rows)} faces have no {name} label: the loss aims at what its "
        "recogniser reads in their photos"
        for name, missing in gaps.items()
        if missing
    ]


def check_loss_networks(config: Config, served: Sequence[str] = ()) -> None:
    """Fail now rather than after minutes of loading, if a network of the loss is missing.

    Args:
        served: terms of `CRAFTING_TERMS` that the recipe has a use for.

    Raises:
        UserError: one is, or the loss has no term at all or one that the recipe cannot serve, or
            one's weights are also a judge's.
    """
    if not any(getattr(config.loss, name) > 0 for name in TERMS):
        raise UserError("loss", "every weight is 0", "give at least one term a weight")
    for name in CRAFTING_TERMS:
        if name not in served and getattr(config.loss, name) > 0:
            raise UserError(
                f"loss.{name}",
                f"has a weight, and recipe {config.recipe} has no use for it",
                "set it to 0",
            )
    if getattr(config.loss, PERCEPTUAL) > 0:
        require_perceptual(config.loss.perceptual_network)
    for models in loss_models(config.loss).values():
        for name in models:
            locate(name)
    require_independent_judge(config)
    require_independent_identity_judge(config)
