"""A run that predicts v to a zero terminal SNR: trained, drawn, saved with its schedule."""

from __future__ import annotations

import pytest
from diffusers import DDIMScheduler

from sfe_core.errors import UserError
from sfe_core.reporting import Reporter
from sfe_core.training.options import TrainOptions
from sfe_core.training.plan import plan_training
from sfe_core.training.recipe import train
from tests.sfe_core.training.conftest import with_settings

ZERO = {"prediction": "v_prediction", "zero_terminal_snr": True}
ON_CPU = TrainOptions(cpu_processes=1, run="zero")


def test_the_checkpoint_carries_the_schedule(workspace):
    changed = with_settings(
        workspace,
        model=ZERO,
        train={"steps": 1, "snr_gamma": None, "input_perturbation": 0.1, "noise_offset": 0.05},
        loss={"noise_loss": "huber", "pixel_max_timestep": 600, "decode_chunk": 1},
    )
    summary = train(changed, ON_CPU, Reporter())
    saved = DDIMScheduler.from_pretrained(summary.checkpoint / "scheduler")
    assert saved.config.prediction_type == "v_prediction"
    assert saved.alphas_cumprod[-1] == 0
    assert summary.samples is not None


def test_settings_that_do_not_go_together_stop_before_anything_is_loaded(workspace):
    wrong = {
        "model.zero_terminal_snr": {"model": {"zero_terminal_snr": True}},
        "loss.pixel_min_timestep": {"loss": {"pixel_min_timestep": 500, "pixel_max_timestep": 400}},
        "asset taesd": {"loss": {"pixel_decoder": "taesd"}},
    }
    for field, sections in wrong.items():
        with pytest.raises(UserError, match=field):
            plan_training(with_settings(workspace, **sections), ON_CPU)
    # What no active term reads is not asked for.
    off = {"perceptual": 0, "valence": 0, "arousal": 0, "expression": 0, "pixel_decoder": "taesd"}
    plan_training(with_settings(workspace, loss=off), ON_CPU)


def test_min_snr_over_a_zero_terminal_snr_is_remarked_on(workspace):
    notes = plan_training(with_settings(workspace, model=ZERO), ON_CPU).notes
    assert any("train.snr_gamma: null" in note for note in notes)
    quiet = with_settings(workspace, model=ZERO, train={"snr_gamma": None})
    assert not any("snr_gamma" in note for note in plan_training(quiet, ON_CPU).notes)
