"""What every batch of a run is held against: the loss, its decoder, its labels and settings."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sfe_core.config.model import Config
from sfe_core.corpus.dataset import FaceDataset
from sfe_core.diffusion.loading import BaseModels
from sfe_core.diffusion.pixel_decoder import PixelDecoder, load_pixel_decoder
from sfe_core.losses.composite import CompositeLoss
from sfe_core.losses.emotion_target import EmotionLabels
from sfe_core.losses.timestep_window import TimestepWindow, pixel_window


@dataclass(frozen=True)
class Objective:
    """The frozen side of a step.

    Attributes:
        composite: the loss.
        decoder: latents to images, or None where no term looks at any.
        labels: of the whole training split, in the order of its places, on the CPU.
        empty_text: [1, L, D] (or ids [1, L]), takes a caption's place where it is dropped.
        alphas: [T] float32 on the device, the schedule's alphas_cumprod.
        prediction: "epsilon" or "v_prediction".
        latent_scale: the VAE's scaling factor.
        window: timesteps in which images are decoded, or None where no term looks at any.
        snr_gamma: see `min_snr_weight`.
        noise_offset, input_perturbation: see `draw_noise`.
    """

    composite: CompositeLoss
    decoder: PixelDecoder | None
    labels: EmotionLabels
    empty_text: Tensor
    alphas: Tensor
    prediction: str
    latent_scale: float
    window: TimestepWindow | None
    snr_gamma: float | None
    noise_offset: float = 0.0
    input_perturbation: float = 0.0

    @property
    def timesteps(self) -> int:
        """Timesteps of the noise schedule."""
        return len(self.alphas)


def build_objective(
    config: Config,
    base: BaseModels,
    composite: CompositeLoss,
    dataset: FaceDataset,
    empty_text: Tensor,
    device: torch.device,
) -> Objective:
    """Put together what the steps of a run share; networks on `device`.

    Raises:
        UserError: the decoder is missing or of another latent space, or no timestep is left.
    """
    alphas = base.scheduler.alphas_cumprod
    decoder = window = None
    if composite.needs_pixels:
        decoder = load_pixel_decoder(config.loss.pixel_decoder, base.vae).to(device)
        window = pixel_window(config.loss, alphas)
    return Objective(
        composite=composite,
        decoder=decoder,
        labels=EmotionLabels(dataset.emotions, dataset.valence, dataset.arousal),
        empty_text=empty_text.to(device),
        alphas=alphas.to(device, torch.float32),
        prediction=base.scheduler.config.prediction_type,
        latent_scale=base.vae.config.scaling_factor,
        window=window,
        snr_gamma=config.train.snr_gamma,
        noise_offset=config.train.noise_offset,
        input_perturbation=config.train.input_perturbation,
    )
