"""What trains and at which rate: parameter groups, and the learning rate over the updates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import torch
from torch import nn

from sfe_core.config.training_sections import EngineConfig
from sfe_core.errors import UserError
from sfe_core.training.network import Network

WSD_DECAY = 0.2  # share of the updates over which "wsd" falls
POLYNOMIAL_END = 1e-7  # where diffusers' "polynomial" (power 1) ends; "linear" ends at 0


def build_optimiser(
    model: nn.Module, networks: Sequence[Network], train: EngineConfig
) -> torch.optim.Optimizer:
    """AdamW (Loshchilov & Hutter 2019, https://arxiv.org/abs/1711.05101), a group per network.

    Or Prodigy (Mishchenko & Defazio 2023, https://arxiv.org/abs/2306.06101), with the settings that
    diffusers' DreamBooth scripts give it.

    Each group carries its `peak_lr`, from which `set_learning_rate` derives the rate of an update.
    `adamw-8bit` keeps both moments in 8 bits, quantised by blocks (Dettmers et al. 2022,
    https://arxiv.org/abs/2110.02861); tensors of less than 4096 numbers stay in 32 bits.

    Raises:
        UserError: `train.optimiser` needs a package that is not installed.
    """
    groups = []
    for network in networks:
        rate = network.learning_rate or train.learning_rate
        parameters = [p for p in network.of(model).parameters() if p.requires_grad]
        if parameters:
            groups.append(
                {"params": parameters, "lr": rate, "peak_lr": rate, "name": network.group}
            )
    if train.optimiser == "adamw-8bit":
        return _bitsandbytes().optim.AdamW8bit(groups, weight_decay=train.weight_decay)
    if train.optimiser == "prodigy":
        return _prodigy(groups, train)
    return torch.optim.AdamW(groups, weight_decay=train.weight_decay, fused=True)


def require_optimiser(train: EngineConfig) -> None:
    """Raise a UserError if the optimiser's package is not installed; loads nothing."""
    if train.optimiser == "adamw-8bit" and find_spec("bitsandbytes") is None:
        raise UserError(
            "train.optimiser: adamw-8bit",
            "needs bitsandbytes, which is not installed",
            "pip install 'sfe[8bit]', or choose adamw",
        )
    if train.optimiser == "prodigy" and find_spec("prodigyopt") is None:
        raise UserError(
            "train.optimiser: prodigy",
            "needs prodigyopt, which is not installed",
            "pip install 'sfe[prodigy]', or choose adamw",
        )


def _prodigy(groups: list[dict[str, Any]], train: EngineConfig) -> torch.optim.Optimizer:
    from prodigyopt import Prodigy

    # It estimates one distance for all groups, and so wants one rate for all.
    rates = {group["peak_lr"] for group in groups}
    if len(rates) > 1:
        raise UserError(
            "train.optimiser: prodigy",
            f"the networks have several learning rates ({', '.join(map(str, sorted(rates)))})",
            "leave all but train.learning_rate at null",
        )
    return Prodigy(
        groups,
        lr=rates.pop(),
        betas=(0.9, 0.99),
        weight_decay=train.weight_decay,
        decouple=True,
        use_bias_correction=True,
        safeguard_warmup=True,
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


def learning_rate(update: int, peak: float, train: EngineConfig) -> float:
    """The rate of an update.

    "wsd" (warm-up, stable, decay) stays at its peak for 80 % of the run and then falls as
    1 - sqrt(progress) (Hägele et al. 2024, https://arxiv.org/abs/2405.18392, sec. 3): until then
    it does not depend on the run's length, which can be chosen late, by `--steps`.

    Args:
        update: 0 .. train.steps - 1.
        peak: the rate after warm-up.
        train: gives `steps`, `warmup_steps` and `schedule`.
    """
    if update < train.warmup_steps:
        return peak * (update + 1) / train.warmup_steps
    progress = (update - train.warmup_steps) / max(1, train.steps - train.warmup_steps)
    if train.schedule == "constant":
        return peak
    if train.schedule == "linear":
        return peak * (1.0 - progress)
    if train.schedule == "wsd":
        fall = train.steps * WSD_DECAY
        return peak * (1.0 - math.sqrt(max(0.0, update + 1 - train.steps + fall) / (fall + 1)))
    if train.schedule == "cosine":
        return peak * 0.5 * (1.0 + math.cos(math.pi * progress))
    end = min(POLYNOMIAL_END, peak)
    return end + (peak - end) * (1.0 - progress)


def set_learning_rate(
    optimiser: torch.optim.Optimizer, update: int, train: EngineConfig
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
