"""What a run may change of its base's noise schedule: the prediction, and the last timestep.

Stable Diffusion's schedule leaves some of the picture at its last timestep, so that sampling, which
starts from pure noise, starts from what training never saw; Lin et al. 2023
(https://arxiv.org/abs/2305.08891, sec. 3.1) rescale it to a signal-to-noise ratio of zero. There a
prediction of the noise says nothing of the picture, hence it needs v prediction, and samplers must
step from the last timestep ("trailing").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffusers import DDPMScheduler

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
