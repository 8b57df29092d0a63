"""Closed forms of the noise schedule: what is put in comes out."""

from __future__ import annotations

import pytest
import torch

from sfe_core.diffusion.prediction import (
    add_noise,
    clean_estimate,
    signal_to_noise,
    training_target,
)

ALPHAS = torch.tensor([0.9, 0.5, 0.1])
TIMES = torch.tensor([0, 1, 2])


@pytest.fixture
def latents() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, 4, 2, 2, generator=generator), torch.randn(
        3, 4, 2, 2, generator=generator
    )


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_the_true_target_gives_back_the_clean_latents(kind, latents):
    clean, noise = latents
    noisy = add_noise(clean, noise, ALPHAS, TIMES)
    target = training_target(kind, clean, noise, ALPHAS, TIMES)
    torch.testing.assert_close(clean_estimate(kind, noisy, target, ALPHAS, TIMES), clean)


def test_noise_and_signal_share_the_variance(latents):
    clean, noise = latents
    noisy = add_noise(clean, noise, ALPHAS, TIMES)
    torch.testing.assert_close(noisy[1], 0.5**0.5 * (clean[1] + noise[1]))


def test_v_is_orthogonal_to_the_noisy_latents():
    one, zero = torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1)
    time = torch.tensor([2])
    v = training_target("v_prediction", one, zero, ALPHAS, time)
    assert v.item() == pytest.approx(-(0.9**0.5))


def test_signal_to_noise_ratio():
    torch.testing.assert_close(signal_to_noise(ALPHAS, TIMES), torch.tensor([9.0, 1.0, 1 / 9]))


def test_agrees_with_diffusers_scheduler(latents):
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler(beta_schedule="scaled_linear")
    times = torch.tensor([0, 500, 999])
    ours = add_noise(*latents, scheduler.alphas_cumprod, times)
    torch.testing.assert_close(ours, scheduler.add_noise(*latents, times))
    v = training_target("v_prediction", *latents, scheduler.alphas_cumprod, times)
    torch.testing.assert_close(v, scheduler.get_velocity(*latents, times))


def test_at_no_signal_at_all_v_still_tells_the_picture(latents):
    clean, noise = latents
    alphas = torch.tensor([0.9, 0.5, 0.0])
    noisy = add_noise(clean, noise, alphas, TIMES)
    assert torch.equal(noisy[2], noise[2])
    v = training_target("v_prediction", clean, noise, alphas, TIMES)
    torch.testing.assert_close(clean_estimate("v_prediction", noisy, v, alphas, TIMES), clean)
    assert signal_to_noise(alphas, TIMES)[2] == 0
