"""One forward pass: a batch and its draws to the batch's share of the update's loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sfe_core.diffusion.loading import BaseModels
from sfe_core.diffusion.prediction import (
    add_noise,
    clean_estimate,
    signal_to_noise,
    training_target,
)
from sfe_core.losses.composite import CompositeLoss, LossTerms
from sfe_core.losses.noise import min_snr_weight, noise_l1
from sfe_core.training.data import Batch
from sfe_core.training.draws import Slot, draw_noise


@dataclass(frozen=True)
class UpdateCounts:
    """Images of the whole update, over all batches and processes; decoded ones among them."""

    images: int
    decoded: int


def batch_loss(
    model: nn.Module,
    base: BaseModels,
    composite: CompositeLoss,
    batch: Batch,
    slots: Sequence[Slot],
    counts: UpdateCounts,
    empty_text: Tensor,
    snr_gamma: float | None,
) -> LossTerms:
    """The loss of one batch, ready for `backward`.

    Args:
        model: a `GuidedUNet`, or a wrapper of one.
        base: the frozen parts.
        composite: the loss.
        batch: B images, on the model's device.
        slots: what was drawn for each of them.
        counts: of the whole update.
        empty_text: [1, L, D], takes the caption's place where it is dropped.
        snr_gamma: see `min_snr_weight`.
    """
    device = batch.latent_mean.device
    kind = base.scheduler.config.prediction_type
    alphas = base.scheduler.alphas_cumprod
    timesteps = torch.tensor([slot.timestep for slot in slots], device=device)
    posterior_noise, noise = (
        drawn.to(device) for drawn in draw_noise(slots, batch.latent_mean.shape[1:])
    )
    clean = batch.latent_mean + batch.latent_std * posterior_noise
    clean = clean * base.vae.config.scaling_factor
    noisy = add_noise(clean, noise, alphas, timesteps)

    without_caption = torch.tensor([slot.drop_caption for slot in slots], device=device)
    text = torch.where(without_caption.view(-1, 1, 1), empty_text, batch.text)
    keep = torch.tensor([not slot.drop_guidance for slot in slots], device=device)
    prediction = model(noisy, timesteps, text, maps=batch.maps, keep=keep).float()

    target = training_target(kind, clean, noise, alphas, timesteps)
    weights = min_snr_weight(signal_to_noise(alphas, timesteps), snr_gamma, kind)
    drawn = real = None
    decode = torch.tensor([slot.decode for slot in slots], device=device)
    if decode.any():
        estimate = clean_estimate(
            kind, noisy[decode], prediction[decode], alphas, timesteps[decode]
        )
        # The decoder is frozen but not cut off: the gradient passes through it to the UNet.
        drawn = base.vae.decode(estimate / base.vae.config.scaling_factor).sample.float()
        real = batch.images[decode]
    return composite(
        noise_l1(prediction, target), weights, counts.images, drawn, real, counts.decoded
    )
