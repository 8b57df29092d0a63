import pytest
import torch
from diffusers import DDIMScheduler, PNDMScheduler

from sfe_core.errors import UserError
from sfe_core.sampling.pipelines import SCHEDULERS, make_scheduler

BASE = PNDMScheduler(
    beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, steps_offset=1
)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_base_models_noise_schedule_is_kept(name: str):
    made = make_scheduler(name, BASE.config)
    torch.testing.assert_close(made.alphas_cumprod, BASE.alphas_cumprod)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_perfect_model_leads_every_sampler_to_its_picture(name: str):
    """With the exact noise of a known x0 beyond [-1, 1], the samplers must arrive at that x0.

    This fails for a sampler that clips its estimate, as DDPM and DDIM do unless told otherwise.
    """
    clean = torch.tensor([[[[3.0, -2.5], [0.5, 0.0]]]])
    scheduler = make_scheduler(name, BASE.config)
    scheduler.set_timesteps(50)
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(clean.shape, generator=generator) * scheduler.init_noise_sigma
    for timestep in scheduler.timesteps:
        kept = scheduler.alphas_cumprod[timestep]
        noise = (latents - kept.sqrt() * clean) / (1 - kept).sqrt()
        latents = scheduler.step(noise, timestep, latents).prev_sample
    torch.testing.assert_close(latents, clean, atol=0.15, rtol=0.0)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UserError, match="'euler' is unknown; use ddpm, ddim, dpm-solver"):
        make_scheduler("euler", BASE.config)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_perfect_model_of_v_with_zero_terminal_snr_arrives_too(name: str):
    """Such a model starts from pure noise at its last timestep, where a prediction of the noise
    would say nothing (Lin et al. 2023)."""
    clean = torch.tensor([[[[3.0, -2.5], [0.5, 0.0]]]])
    trained = DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
    )
    scheduler = make_scheduler(name, trained.config)
    scheduler.set_timesteps(50)
    assert int(scheduler.timesteps[0]) == 999
    latents = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    latents = latents * scheduler.init_noise_sigma
    for timestep in scheduler.timesteps:
        kept = scheduler.alphas_cumprod[timestep]
        noise = (latents - kept.sqrt() * clean) / (1 - kept).sqrt()
        v = kept.sqrt() * noise - (1 - kept).sqrt() * clean
        latents = scheduler.step(v, timestep, latents).prev_sample
    torch.testing.assert_close(latents, clean, atol=0.15, rtol=0.0)
