"""A UNet made ready to be trained: what is frozen, and adapters in place of the rest."""

from __future__ import annotations

from torch import nn

from sfe_core.config.stableface_sections import TrainConfig
from sfe_core.errors import UserError
from sfe_core.training.engine.lora import TEXT_TARGETS, add_lora


def make_trainable(unet: nn.Module, train: TrainConfig) -> None:
    """Freeze what `train.frozen` names, and add adapters, if `train.lora_rank` asks for them.

    Raises:
        UserError: the UNet has no module of such a name, or nothing is left to train.
    """
    freeze(unet, train.frozen)
    if train.lora_rank:
        add_lora(unet, train.lora_rank, train.frozen, train.lora_modules, train.lora_dora)


def make_text_trainable(text_encoder: nn.Module, train: TrainConfig) -> None:
    """Put adapters on a text encoder, if `train.text_encoder_lora_rank` asks for them."""
    if train.text_encoder_lora_rank:
        add_lora(text_encoder, train.text_encoder_lora_rank, (), TEXT_TARGETS, dora=train.lora_dora)


def freeze(unet: nn.Module, names: tuple[str, ...]) -> None:
    """Leave the named modules of the UNet, and all in them, out of training.

    Raises:
        UserError: the UNet has no module of that name.
    """
    modules = dict(unet.named_modules())
    for name in names:
        if name not in modules or not name:
            top = [
                f"{block}.{index}"
                for block in ("down_blocks", "up_blocks")
                for index in range(len(getattr(unet, block)))
            ]
            raise UserError(
                "train.frozen",
                f"the UNet has no module {name!r}",
                f"allowed: {', '.join(top)}, mid_block, conv_in, or any module inside them",
            )
        modules[name].requires_grad_(False)
    if not any(parameter.requires_grad for parameter in unet.parameters()):
        raise UserError("train.frozen", f"{list(names)} leaves nothing to train", "name fewer")
