"""What trains and at which rate: frozen modules, parameter groups, moving average."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import torch
from torch import nn

from sfe_core.config.stableface_sections import TrainConfig
from sfe_core.diffusion.guided_unet import GuidedUNet
from sfe_core.errors import UserError
from sfe_core.training.engine.schedule import learning_rate
from sfe_core.training.parallel.sharding import local


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


def build_optimiser(model: GuidedUNet, train: TrainConfig) -> torch.optim.Optimizer:
    """AdamW (Loshchilov & Hutter 2019, https://arxiv.org/abs/1711.05101), a group per network.

    Each group carries its `peak_lr`, from which `set_learning_rate` derives the rate of an update.
    `adamw-8bit` keeps both moments in 8 bits, quantised by blocks (Dettmers et al. 2022,
    https://arxiv.org/abs/2110.02861); tensors of less than 4096 numbers stay in 32 bits.

    Raises:
        UserError: `train.optimiser` needs a package that is not installed.
    """
    parts: dict[str, tuple[nn.Module, float | None]] = {
        "unet": (model.unet, None),
        "guidance": (model.bank, train.guidance_learning_rate),
    }
    if model.text_encoder is not None:
        parts["text"] = (model.text_encoder, train.text_encoder_learning_rate)
    groups = []
    for name, (module, own_rate) in parts.items():
        rate = own_rate or train.learning_rate
        parameters = [p for p in module.parameters() if p.requires_grad]
        if parameters:
            groups.append({"params": parameters, "lr": rate, "peak_lr": rate, "name": name})
    if train.optimiser == "adamw-8bit":
        return _bitsandbytes().optim.AdamW8bit(groups, weight_decay=train.weight_decay)
    return torch.optim.AdamW(groups, weight_decay=train.weight_decay, fused=True)


def require_optimiser(train: TrainConfig) -> None:
    """Raise a UserError if the optimiser's package is not installed; loads nothing."""
    if train.optimiser == "adamw-8bit" and find_spec("bitsandbytes") is None:
        raise UserError(
            "train.optimiser: adamw-8bit",
            "needs bitsandbytes, which is not installed",
            "pip install 'sfe[8bit]', or choose adamw",
        )


def _bitsandbytes() -> ModuleType:
    try:
        import bitsandbytes  # slow to import, and looks for a GPU
    except (ImportError, OSError, RuntimeError) as error:  # or a CUDA library that does not load
        raise UserError(
            "train.optimiser: adamw-8bit",
            f"bitsandbytes cannot be used ({error})",
            "pip install 'sfe[8bit]', or choose adamw",
        ) from error
    return bitsandbytes


def set_learning_rate(
    optimiser: torch.optim.Optimizer, update: int, train: TrainConfig
) -> dict[str, float]:
    """Set the rate of an update in every group, and return it by group name."""
    rates = {}
    for group in optimiser.param_groups:
        group["lr"] = learning_rate(update, group["peak_lr"], train)
        rates[group["name"]] = group["lr"]
    return rates


def settings_of(optimiser: torch.optim.Optimizer) -> dict[str, dict[str, Any]]:
    """Every group's options (rates, decay, betas …) by its name, without what it trains."""
    return {
        group["name"]: {key: value for key, value in group.items() if key != "params"}
        for group in optimiser.param_groups
    }


def give_settings(
    optimiser: torch.optim.Optimizer, settings: Mapping[str, Mapping[str, Any]]
) -> None:
    """Put back what `settings_of` gave: loading a state puts those of its time in their place."""
    for group in optimiser.param_groups:
        group |= settings[group["name"]]


class MovingAverage:
    """Exponential moving average of the trained weights (Polyak & Juditsky 1992).

    The decay grows from 0.1 to its full value as (1 + n) / (10 + n), n being the update, so that
    the random start of a short run is soon forgotten.

    Args:
        model: the live model.
        decay: in [0, 1).
        device: "model" keeps the averages beside the live weights, "cpu" in the CPU's memory.

    Attributes:
        model: a copy of the model holding the averages, to save and to load; frozen weights are
            the live model's own. Draw within `applied`: with averages on the CPU, the copy lies on
            two devices.
    """

    def __init__(self, model: GuidedUNet, decay: float, device: str = "model") -> None:
        self.decay = decay
        self._live, self._beside = model, device == "model"
        shared = {id(p): p for p in model.parameters() if not p.requires_grad}
        trained = [p for p in model.parameters() if p.requires_grad]
        averages = [
            nn.Parameter(_copy(p.detach(), p.device if self._beside else "cpu"), False)
            for p in trained
        ]
        memo = shared | {id(p): a for p, a in zip(trained, averages, strict=True)}
        self.model = copy.deepcopy(model, memo).eval()
        self._pairs = list(zip(averages, trained, strict=True))

    def pair_shards(self) -> None:
        """Go on with this process's shards, once both models were sharded alike."""
        self._pairs = [
            (local(average), local(current))
            for average, current in zip(
                self.model.parameters(), self._live.parameters(), strict=True
            )
            if current.requires_grad
        ]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the model's weights after update `step` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        if self._beside:
            averages, currents = (list(side) for side in zip(*self._pairs, strict=True))
            torch._foreach_lerp_(averages, currents, 1.0 - decay)
            return
        for average, current in self._pairs:
            average.lerp_(current.to(average.device), 1.0 - decay)

    @contextmanager
    @torch.no_grad()
    def applied(self) -> Iterator[GuidedUNet]:
        """Within the block, the live model draws with the averages; takes no memory of its GPU.

        Its own weights come back afterwards, bit for bit.
        """
        kept = []
        for average, current in self._pairs:
            if self._beside:
                average.data, current.data = current.data, average.data
            else:
                kept.append(_copy(current.detach(), average.device))
                current.copy_(average)
        training = self._live.training
        try:
            yield self._live.eval()
        finally:
            self._live.train(training)
            for place, (average, current) in enumerate(self._pairs):
                if kept:
                    current.copy_(kept[place])
                else:
                    average.data, current.data = current.data, average.data


def _copy(tensor: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    return tensor.to(device, copy=True)
