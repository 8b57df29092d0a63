"""What a run changes of its base's noise schedule, and that samplers follow."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler

from sfe_core.config.training_sections import ModelConfig
from sfe_core.diffusion.noise_schedule import save_schedule, schedule_changes, set_schedule
from sfe_core.errors import UserError
from sfe_core.sampling.pipelines import SCHEDULERS, make_scheduler

BASE = DDPMScheduler(
    beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, clip_sample=False
)
ZERO = ModelConfig(prediction="v_prediction", zero_terminal_snr=True)


def test_by_default_the_base_is_left_as_it_is(tmp_path):
    assert schedule_changes(BASE.config, ModelConfig()) == {}
    assert set_schedule(BASE, ModelConfig()) is BASE
    save_schedule(tmp_path / "scheduler", BASE, ModelConfig())
    assert not (tmp_path / "scheduler").exists()


def test_zero_terminal_snr_ends_in_pure_noise_and_keeps_the_start():
    before, after = BASE.alphas_cumprod, set_schedule(BASE, ZERO).alphas_cumprod
    assert before[-1] > 0.004 and after[-1] == 0
    torch.testing.assert_close(after[0], before[0])
    assert (after.diff() < 0).all()
    # Lin et al., algorithm 1: shift and scale of the square roots.
    roots = before.double().sqrt()
    expected = (roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])
    torch.testing.assert_close(after.double().sqrt(), expected, atol=1e-4, rtol=1e-4)


def test_pure_noise_cannot_be_learnt_by_predicting_noise():
    with pytest.raises(UserError, match="needs v_prediction.*predicts epsilon"):
        schedule_changes(BASE.config, ModelConfig(zero_terminal_snr=True))


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_sampler_steps_from_the_last_timestep(name, tmp_path):
    save_schedule(tmp_path, set_schedule(BASE, ZERO), ZERO)
    saved = DDIMScheduler.from_pretrained(tmp_path)
    sampler = make_scheduler(name, saved.config)
    sampler.set_timesteps(10)
    assert sampler.config.prediction_type == "v_prediction"
    assert sampler.timesteps[0] == 999
    assert sampler.alphas_cumprod[-1] < 1e-6


def test_v_prediction_alone_keeps_the_schedule(tmp_path):
    model = ModelConfig(prediction="v_prediction")
    changed = set_schedule(BASE, model)
    assert changed.config.prediction_type == "v_prediction"
    assert torch.equal(changed.alphas_cumprod, BASE.alphas_cumprod)
    save_schedule(tmp_path, changed, model)
    assert DDIMScheduler.from_pretrained(tmp_path).config.prediction_type == "v_prediction"
