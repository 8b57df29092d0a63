"""One forward pass: a batch and its draws to the batch's share of the update's loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sfe_core.diffusion.prediction import (
    add_noise,
    clean_estimate,
    signal_to_noise,
    training_target,
)
from sfe_core.losses.composite import LossTerms
from sfe_core.losses.noise import min_snr_weight
from sfe_core.losses.photo_area import photo_mask
from sfe_core.losses.pixels import PixelBatch
from sfe_core.recipes.draws import Slot, draw_noise
from sfe_core.recipes.objective import Objective
from sfe_core.training.batches.data import Batch


@dataclass(frozen=True)
class UpdateCounts:
    """Images of the whole update, over all batches and processes; decoded ones among them."""

    images: int
    decoded: int


def batch_loss(
    model: nn.Module,
    objective: Objective,
    batch: Batch,
    slots: Sequence[Slot],
    counts: UpdateCounts,
) -> LossTerms:
    """The loss of one batch, ready for `backward`.

    Args:
        model: a `GuidedUNet`, or a wrapper of one.
        objective: the loss and what it needs.
        batch: B images, on the model's device.
        slots: what was drawn for each of them.
        counts: of the whole update.
    """
    device, kind = batch.latent_mean.device, objective.prediction
    timesteps = torch.tensor([slot.timestep for slot in slots], device=device)
    posterior_noise, noise, seen_noise = (
        drawn.to(device, non_blocking=True)
        for drawn in draw_noise(
            slots,
            batch.latent_mean.shape[1:],
            objective.noise_offset,
            objective.input_perturbation,
        )
    )
    clean = batch.latent_mean + batch.latent_std * posterior_noise
    clean = clean * objective.latent_scale
    noisy = add_noise(clean, seen_noise, objective.alphas, timesteps)

    without_caption = torch.tensor([slot.drop_caption for slot in slots], device=device)
    along = (-1, *[1] * (batch.text.dim() - 1))
    text = torch.where(without_caption.view(along), objective.empty_text, batch.text)
    # A list stays on the CPU under any wrapper: choosing by it waits for no GPU.
    keep = [not slot.drop_guidance for slot in slots]
    prediction = model(noisy, timesteps, text, maps=batch.maps, keep=keep).float()

    target = training_target(kind, clean, noise, objective.alphas, timesteps)
    snr = signal_to_noise(objective.alphas, timesteps)
    return objective.composite(
        objective.composite.noise_loss(_of_photo(prediction, target, batch.areas), target),
        min_snr_weight(snr, objective.snr_gamma, kind),
        counts.images,
        _pixels(objective, batch, slots, timesteps, noisy, prediction),
        counts.decoded,
    )


def _of_photo(prediction: Tensor, target: Tensor, areas: Tensor | None) -> Tensor:
    """The prediction [B, C, h, w], put right where a latent shows no photo: no error there."""
    if areas is None:
        return prediction
    return torch.where(photo_mask(areas, *prediction.shape[2:]), prediction, target)


def _pixels(
    objective: Objective,
    batch: Batch,
    slots: Sequence[Slot],
    timesteps: Tensor,
    noisy: Tensor,
    prediction: Tensor,
) -> PixelBatch | None:
    """The images of a batch that are decoded, or None."""
    chosen = [place for place, slot in enumerate(slots) if slot.decode]
    if not chosen or objective.decoder is None:
        return None
    rows = torch.tensor(chosen, device=noisy.device)
    estimates = clean_estimate(
        objective.prediction, noisy[rows], prediction[rows], objective.alphas, timesteps[rows]
    )
    weights = [slots[place].pixel_weight for place in chosen]
    return PixelBatch(
        estimates=estimates,
        decode=objective.decoder,
        photos=batch.images[rows],
        weights=torch.tensor(weights, device=noisy.device),
        labels=objective.labels.of([slots[place].index for place in chosen]),
        areas=None if batch.areas is None else batch.areas[rows],
    )
