"""What a run may change of its base's noise schedule: the prediction, and the last timestep.

Stable Diffusion's schedule leaves some of the picture at its last timestep, so that sampling, which
starts from pure noise, starts from what training never saw; Lin et al. 2023
(https://arxiv.org/abs/2305.08891, sec. 3.1) rescale it to a signal-to-noise ratio of zero. There a
prediction of the noise says nothing of the picture, hence it needs v prediction, and samplers must
step from the last timestep ("trailing").
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusers import DDIMScheduler, DDPMScheduler

from sfe_core.config.training_sections import ModelConfig
from sfe_core.errors import UserError


def schedule_changes(base: Mapping[str, Any], model: ModelConfig) -> dict[str, Any]:
    """Fields of the base's scheduler_config.json that a run changes; empty: none.

    Args:
        base: the base's scheduler configuration.
        model: section of sfe.yaml.

    Raises:
        UserError: a zero terminal SNR without v prediction.
    """
    before = base.get("prediction_type", "epsilon")
    prediction = before if model.prediction == "base" else model.prediction
    changes: dict[str, Any] = {}
    if prediction != before:
        changes["prediction_type"] = prediction
    if model.zero_terminal_snr:
        if prediction != "v_prediction":
            raise UserError(
                "model.zero_terminal_snr",
                f"needs v_prediction, and this model predicts {prediction}",
                "set model.prediction: v_prediction",
            )
        wanted = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
        changes |= {name: value for name, value in wanted.items() if base.get(name) != value}
    return changes


def set_schedule(scheduler: DDPMScheduler, model: ModelConfig) -> DDPMScheduler:
    """The base's schedule with a run's changes; the base's own where there are none.

    Raises:
        UserError: as `schedule_changes`.
    """
    changes = schedule_changes(scheduler.config, model)
    return DDPMScheduler.from_config(scheduler.config, **changes) if changes else scheduler


def save_schedule(folder: Path, scheduler: DDPMScheduler, model: ModelConfig) -> None:
    """Write the run's schedule as a diffusers scheduler folder, if it may differ from the base's.

    As DDIM (Song et al. 2020): plain diffusers can draw with it in few steps, which many samplers
    of base models cannot from a zero terminal SNR.
    """
    if model.prediction != "base" or model.zero_terminal_snr:
        plain = {"clip_sample": False, "set_alpha_to_one": False}
        DDIMScheduler.from_config(scheduler.config, **plain).save_pretrained(folder)
