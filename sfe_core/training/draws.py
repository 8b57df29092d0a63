"""What chance decides for each image of an update: a function of (seed, step, place, key).

Nothing depends on how the update is dealt out to processes and forward passes, or on what ran
before, so a resumed run and a run on another number of processes draw the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from sfe_core.config.training_sections import LossConfig, TrainConfig
from sfe_core.files import derive_seed

Item = TypeVar("Item")

_UNIT = 2.0**-63  # derive_seed gives 63 bits


@dataclass(frozen=True)
class Slot:
    """One image of an update and everything drawn for it.

    Attributes:
        index: its place in the data set.
        timestep: in 0 .. number of training timesteps - 1.
        drop_caption: train it with the empty caption.
        drop_guidance: train it without maps.
        decode: decode its one-step estimate for the pixel terms.
        noise_seed: seeds the latent noise.
    """

    index: int
    timestep: int
    drop_caption: bool
    drop_guidance: bool
    decode: bool
    noise_seed: int


def plan_update(
    indices: Sequence[int],
    keys: Sequence[str],
    step: int,
    train: TrainConfig,
    loss: LossConfig,
    train_timesteps: int,
    pixels: bool,
) -> list[Slot]:
    """Draw for every image of an update.

    Of the images below `loss.pixel_max_timestep`, ceil(`loss.pixel_fraction` x images) are decoded
    (or all of them, if there are fewer).

    Args:
        indices: the update's images, places in the data set; may repeat.
        keys: their keys.
        step: the update, from 0.
        train, loss: sections of sfe.yaml.
        train_timesteps: timesteps of the noise schedule.
        pixels: whether any term needs decoded images.
    """

    def uniform(place: int, purpose: str) -> float:
        return derive_seed(train.seed, step, place, keys[place], purpose) * _UNIT

    places = range(len(indices))
    timesteps = [int(uniform(place, "timestep") * train_timesteps) for place in places]
    decoded: set[int] = set()
    if pixels:
        eligible = [place for place in places if timesteps[place] < loss.pixel_max_timestep]
        wanted = math.ceil(loss.pixel_fraction * len(indices))
        ranked = sorted(eligible, key=lambda place: uniform(place, "decode"))
        decoded = set(ranked[:wanted])
    return [
        Slot(
            index=indices[place],
            timestep=timesteps[place],
            drop_caption=uniform(place, "caption") < train.caption_dropout,
            drop_guidance=uniform(place, "guidance") < train.guidance_dropout,
            decode=place in decoded,
            noise_seed=derive_seed(train.seed, step, place, keys[place], "noise"),
        )
        for place in places
    ]


def draw_noise(slots: Sequence[Slot], shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Noise of the posterior sample and of the diffusion, each [B, *shape] float32 on the CPU."""
    drawn = []
    for slot in slots:
        generator = torch.Generator().manual_seed(slot.noise_seed)
        drawn.append(torch.randn(2, *shape, generator=generator))
    stacked = torch.stack(drawn)
    return stacked[:, 0], stacked[:, 1]


def share_of(images: Sequence[Item], process: int, processes: int, batch: int) -> list[list[Item]]:
    """The batches of one process, in order: batch a of process p starts at (a P + p) batch."""
    starts = range(process * batch, len(images), processes * batch)
    return [list(images[start : start + batch]) for start in starts]
