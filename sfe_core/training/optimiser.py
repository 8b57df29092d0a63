"""What trains and at which rate: frozen modules, parameter groups, moving average."""

from __future__ import annotations

import copy

import torch
from torch import nn

from sfe_core.config.training_sections import TrainConfig
from sfe_core.diffusion.guided_unet import GuidedUNet
from sfe_core.errors import UserError
from sfe_core.training.schedule import learning_rate


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


def build_optimiser(model: GuidedUNet, train: TrainConfig) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019, https://arxiv.org/abs/1711.05101) with two groups.

    Each group carries its `peak_lr`, from which `set_learning_rate` derives the rate of an update.
    """
    rates = {"unet": train.learning_rate, "guidance": train.guidance_learning_rate}
    groups = []
    for name, module in (("unet", model.unet), ("guidance", model.bank)):
        rate = rates[name] or train.learning_rate
        parameters = [p for p in module.parameters() if p.requires_grad]
        if parameters:
            groups.append({"params": parameters, "lr": rate, "peak_lr": rate, "name": name})
    return torch.optim.AdamW(groups, weight_decay=train.weight_decay, fused=True)


def set_learning_rate(
    optimiser: torch.optim.Optimizer, update: int, train: TrainConfig
) -> dict[str, float]:
    """Set the rate of an update in every group, and return it by group name."""
    rates = {}
    for group in optimiser.param_groups:
        group["lr"] = learning_rate(update, group["peak_lr"], train)
        rates[group["name"]] = group["lr"]
    return rates


class MovingAverage:
    """Exponential moving average of the trained weights (Polyak & Juditsky 1992).

    The decay grows from 0.1 to its full value as (1 + n) / (10 + n), n being the update, so that
    the random start of a short run is soon forgotten.

    Attributes:
        model: a copy of the model holding the averages; frozen weights are the model's own.
    """

    def __init__(self, model: GuidedUNet, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self._pairs = [
            (average, current)
            for average, current in zip(self.model.parameters(), model.parameters(), strict=True)
            if current.requires_grad
        ]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the model's weights after update `step` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        averages, currents = (list(side) for side in zip(*self._pairs, strict=True))
        torch._foreach_lerp_(averages, currents, 1.0 - decay)
