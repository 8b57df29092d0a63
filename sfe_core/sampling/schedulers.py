"""The samplers sfe.yaml can name, built from the base model's own noise schedule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    SchedulerMixin,
    UniPCMultistepScheduler,
)

from sfe_core.errors import UserError

# Latents are not bounded by 1, so DDPM and DDIM must not clip their estimate of x0; that is their
# default where a base model's scheduler file leaves the key out.
_UNCLIPPED = {"clip_sample": False, "thresholding": False}

SCHEDULERS: dict[str, tuple[type[SchedulerMixin], dict[str, Any]]] = {
    "ddpm": (DDPMScheduler, _UNCLIPPED),  # Ho et al. 2020
    "ddim": (DDIMScheduler, _UNCLIPPED),  # Song et al. 2021, eta 0
    "dpm-solver++": (DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++"}),  # Lu 2022
    "unipc": (UniPCMultistepScheduler, {}),  # Zhao et al. 2023
}


def make_scheduler(name: str, base_config: Mapping[str, Any]) -> SchedulerMixin:
    """The sampler `name` over the betas, offsets and prediction type of `base_config`.

    Raises:
        UserError: an unknown name.
    """
    if name not in SCHEDULERS:
        raise UserError(
            "sfe.yaml: sampling.scheduler", f"{name!r} is unknown", f"use {', '.join(SCHEDULERS)}"
        )
    kind, fixed = SCHEDULERS[name]
    return kind.from_config(base_config, **fixed)
