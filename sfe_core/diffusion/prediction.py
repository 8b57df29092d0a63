"""What a diffusion network predicts, and what follows from it.

With a = alphas_cumprod[t], a noisy latent is x_t = sqrt(a) x_0 + sqrt(1 - a) e (Ho et al. 2020,
https://arxiv.org/abs/2006.11239, eq. 4); v = sqrt(a) e - sqrt(1 - a) x_0 (Salimans & Ho 2022,
https://arxiv.org/abs/2202.00512, app. D). All tensors are [B, C, h, w]; timesteps are [B] integers.
"""

from __future__ import annotations

import torch

PREDICTION_TYPES = ("epsilon", "v_prediction")


def _roots(alphas_cumprod: torch.Tensor, timesteps: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """sqrt(a) and sqrt(1 - a) as [B, 1, 1, 1] float32 tensors."""
    alpha = alphas_cumprod.to(timesteps.device, torch.float32)[timesteps].view(-1, 1, 1, 1)
    return alpha.sqrt(), (1.0 - alpha).sqrt()


def add_noise(
    clean: torch.Tensor, noise: torch.Tensor, alphas_cumprod: torch.Tensor, timesteps: torch.Tensor
) -> torch.Tensor:
    """x_t, the clean latents carried to `timesteps` with the given noise."""
    signal, spread = _roots(alphas_cumprod, timesteps)
    return signal * clean + spread * noise


def training_target(
    kind: str,
    clean: torch.Tensor,
    noise: torch.Tensor,
    alphas_cumprod: torch.Tensor,
    timesteps: torch.Tensor,
) -> torch.Tensor:
    """What the network should say: the noise (epsilon) or v (v_prediction)."""
    if kind == "epsilon":
        return noise
    signal, spread = _roots(alphas_cumprod, timesteps)
    return signal * noise - spread * clean


def clean_estimate(
    kind: str,
    noisy: torch.Tensor,
    prediction: torch.Tensor,
    alphas_cumprod: torch.Tensor,
    timesteps: torch.Tensor,
) -> torch.Tensor:
    """The one-step estimate of x_0 that a prediction at x_t implies, with its gradient."""
    signal, spread = _roots(alphas_cumprod, timesteps)
    if kind == "epsilon":
        return (noisy - spread * prediction) / signal
    return signal * noisy - spread * prediction


def signal_to_noise(alphas_cumprod: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
    """SNR(t) = a / (1 - a), as [B] float32."""
    alpha = alphas_cumprod.to(timesteps.device, torch.float32)[timesteps]
    return alpha / (1.0 - alpha)
