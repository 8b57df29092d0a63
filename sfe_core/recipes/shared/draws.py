"""What chance decides for each image of an update: a function of (seed, step, place, key).

Nothing depends on how the update is shared out to processes and forward passes, or on what ran
before, so a resumed run and a run on another number of processes draw the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sfe_core.config.stableface_sections import LossConfig, TrainConfig
from sfe_core.corpus.views import View
from sfe_core.files import derive_seed
from sfe_core.losses.timestep_window import TimestepWindow

_UNIT = 2.0**-63  # derive_seed gives 63 bits


@dataclass(frozen=True)
class Slot:
    """One image of an update and everything drawn for it.

    Attributes:
        view: which face of the data set it is, and how that is looked at.
        timestep: in 0 .. number of training timesteps - 1.
        drop_caption: train it with the empty caption.
        drop_guidance: train it without maps.
        decode: decode its one-step estimate for the pixel terms.
        noise_seed: seeds the latent noise.
        pixel_weight: how much these terms count at its timestep, in [0, 1].
    """

    view: View
    timestep: int
    drop_caption: bool
    drop_guidance: bool
    decode: bool
    noise_seed: int
    pixel_weight: float = 1.0

    @property
    def index(self) -> int:
        """Its face's place in the data set."""
        return self.view.place


def plan_update(
    views: Sequence[View],
    keys: Sequence[str],
    step: int,
    train: TrainConfig,
    loss: LossConfig,
    train_timesteps: int,
    window: TimestepWindow | None,
) -> list[Slot]:
    """Draw for every image of an update.

    Of the images inside `window`, ceil(`loss.pixel_fraction` x images) are decoded (or all of them,
    if there are fewer).

    Args:
        views: the update's images; faces may repeat.
        keys: their keys.
        step: the update, from 0.
        train, loss: sections of sfe.yaml.
        train_timesteps: timesteps of the noise schedule.
        window: where images are decoded; None: nowhere, no term needs them.
    """

    def uniform(place: int, purpose: str) -> float:
        return derive_seed(train.seed, step, place, keys[place], purpose) * _UNIT

    places = range(len(views))
    timesteps = [int(uniform(place, "timestep") * train_timesteps) for place in places]
    decoded: set[int] = set()
    pixel_weights = [window.weight(timestep) if window else 0.0 for timestep in timesteps]
    if window:
        eligible = [place for place in places if pixel_weights[place] > 0]
        wanted = math.ceil(loss.pixel_fraction * len(views))
        ranked = sorted(eligible, key=lambda place: uniform(place, "decode"))
        decoded = set(ranked[:wanted])
    return [
        Slot(
            view=views[place],
            timestep=timesteps[place],
            drop_caption=uniform(place, "caption") < train.caption_dropout,
            drop_guidance=uniform(place, "guidance") < train.guidance_dropout,
            decode=place in decoded,
            noise_seed=derive_seed(train.seed, step, place, keys[place], "noise"),
            pixel_weight=pixel_weights[place],
        )
        for place in places
    ]


def draw_noise(
    slots: Sequence[Slot], shape: Sequence[int], offset: float = 0.0, perturbation: float = 0.0
) -> tuple[Tensor, Tensor, Tensor]:
    """The noise of every image, from its own seed.

    Args:
        slots: B of them.
        shape: (C, h, w) of a latent.
        offset: strength of a noise that is the same over a channel
            (https://www.crosslabs.org/blog/diffusion-with-offset-noise); part of what is predicted.
        perturbation: strength of a noise that the network sees and need not predict (Ning et al.
            2023, https://arxiv.org/abs/2301.11706).

    Returns:
        Noise of the posterior sample, of the diffusion as it is predicted, and as it is added to
        the latents: each [B, C, h, w] float32 on the CPU.
    """
    posterior, predicted, added = [], [], []
    for slot in slots:
        generator = torch.Generator().manual_seed(slot.noise_seed)
        first, noise = torch.randn(2, *shape, generator=generator)
        if offset:
            noise = noise + offset * torch.randn(shape[0], 1, 1, generator=generator)
        posterior.append(first)
        predicted.append(noise)
        if perturbation:
            added.append(noise + perturbation * torch.randn(*shape, generator=generator))
    target = torch.stack(predicted)
    return torch.stack(posterior), target, torch.stack(added) if perturbation else target
