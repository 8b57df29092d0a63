"""A checkpoint's networks: UNet and guidance encoders as diffusers folders, LoRA beside them.

`unet/` is always a whole UNet, adapters merged in, so that whoever reads a checkpoint need not know
how it was trained; `unet_lora/` is what a LoRA run goes on from.
"""

from __future__ import annotations

from pathlib import Path

from diffusers import UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel

from sfe_core.diffusion.guidance import GuidanceBank
from sfe_core.diffusion.guided_unet import GuidedUNet
from sfe_core.errors import UserError
from sfe_core.training.engine.lora import has_lora, load_lora, merged, save_lora

UNET, UNET_LORA, GUIDANCE = "unet", "unet_lora", "guidance_encoder"
TEXT = "text_encoder"
EMA_SUFFIX = "_ema"


def save_networks(folder: Path, model: GuidedUNet, suffix: str = "") -> None:
    """Write `unet<suffix>/`, `guidance_encoder<suffix>/`, and what else trains.

    That is the adapter, and `text_encoder<suffix>/`.
    """
    unet = model.unet
    if has_lora(unet):
        save_lora(unet, folder / f"{UNET_LORA}{suffix}")
        unet = merged(unet)
    unet.save_pretrained(folder / f"{UNET}{suffix}")
    model.bank.save_pretrained(folder / f"{GUIDANCE}{suffix}")
    if model.text_encoder is not None:
        model.text_encoder.save_pretrained(folder / f"{TEXT}{suffix}")


def load_networks(folder: Path, model: GuidedUNet, suffix: str = "") -> None:
    """Put what `save_networks` wrote into `model`, bit for bit; of a LoRA run only what trains.

    Raises:
        UserError: the checkpoint is of a run that trains other networks: LoRA or not, text
            encoder or not.
        RunError: the adapters differ in rank or places.
    """
    adapter = folder / f"{UNET_LORA}{suffix}"
    if has_lora(model.unet) != adapter.is_dir():
        kind = "LoRA" if adapter.is_dir() else "whole-UNet"
        raise UserError(
            "train.lora_rank",
            f"{folder.parent.name} is a {kind} run",
            "restore it, or start a new run without --resume",
        )
    texts = folder / f"{TEXT}{suffix}"
    if (model.text_encoder is not None) != texts.is_dir():
        trained = "trained" if texts.is_dir() else "left alone"
        raise UserError(
            "train.text_encoder",
            f"{folder.parent.name} is a run with the text encoder {trained}",
            "restore it, or start a new run without --resume",
        )
    if adapter.is_dir():
        load_lora(model.unet, adapter)
    else:
        unet = UNet2DConditionModel.from_pretrained(folder / f"{UNET}{suffix}")
        model.unet.load_state_dict(unet.state_dict(), assign=_is_empty(model.unet))
    if model.bank.map_names:  # a bank without maps has no weights, and no file of them
        bank = GuidanceBank.from_pretrained(folder / f"{GUIDANCE}{suffix}")
        model.bank.load_state_dict(bank.state_dict(), assign=_is_empty(model.bank))
    if model.text_encoder is not None:
        stored = CLIPTextModel.from_pretrained(texts)
        empty = _is_empty(model.text_encoder)
        model.text_encoder.load_state_dict(stored.state_dict(), assign=empty)


def _is_empty(module: nn.Module) -> bool:
    """Whether a module has a layout and no weights yet (on the meta device)."""
    return any(parameter.is_meta for parameter in module.parameters())
