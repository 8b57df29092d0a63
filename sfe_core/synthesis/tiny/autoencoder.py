"""Training of the tiny autoencoder, and the scale of its latents."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor, nn

from sfe_core.files import atomic_path
from sfe_core.synthesis.tiny.networks import make_vae
from sfe_core.synthesis.tiny.settings import Settings

log = logging.getLogger(__name__)

KEEP_EVERY = 100  # steps between states that a stopped training goes on from
STANDARD_IMAGES = 1024  # from which the latents' mean and spread are measured


def _edges(images: Tensor) -> tuple[Tensor, Tensor]:
    return images.diff(dim=-1), images.diff(dim=-2)


def _chroma(images: Tensor) -> Tensor:
    """Red against blue, and green against both, [B, 2, H, W]."""
    red, green, blue = images.unbind(1)
    return torch.stack([0.5 * (red - blue), green - 0.5 * (red + blue)], 1)


def reconstruction_loss(result: Tensor, images: Tensor) -> Tensor:
    """L1 on pixels and on their differences, which keeps lids and lips sharp; squares for colour.

    Skin hardly differs from green to magenta: on absolute errors alone the network gave walls and
    hats back grey, even after 12,000 steps.
    """
    edges = sum(F.l1_loss(a, b) for a, b in zip(_edges(result), _edges(images), strict=True))
    loss = F.l1_loss(result, images) + 2.0 * edges
    loss = loss + 40.0 * F.mse_loss(result, images)
    return loss + 60.0 * F.mse_loss(_chroma(result), _chroma(images))


def to_pixels(images: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """[N, S, S, 3] uint8 to [N, 3, S, S] in [-1, 1], channels last."""
    pixels = torch.from_numpy(np.ascontiguousarray(images)).to(device)
    return pixels.permute(0, 3, 1, 2).float().div(127.5).sub(1)


def _batch(sets: Sequence[np.ndarray], step: int, settings: Settings) -> np.ndarray:
    """The images of a step, from all sets alike; cut-outs of them before the last stretch.

    The network is convolutions alone, so most of what it has to learn can be learnt on cut-outs,
    at a quarter of the time.
    """
    rng = np.random.default_rng([settings.seed, step])
    ends = np.cumsum([len(images) for images in sets])
    rows = rng.integers(ends[-1], size=settings.vae_batch)
    side, cut = settings.image_px, settings.vae_crop_px
    chosen = []
    for row in rows:
        which = int(np.searchsorted(ends, row, side="right"))
        image = sets[which][row - ends[which] + len(sets[which])]
        if step < settings.vae_crop_steps:
            top, left = rng.integers(side - cut + 1, size=2)
            image = image[top : top + cut, left : left + cut]
        chosen.append(image[:, ::-1] if rng.random() < 0.5 else image)
    return np.stack(chosen)


def _rate(step: int, steps: int) -> float:
    """Share of the peak learning rate: linear warm-up, then a cosine to zero."""
    warm = max(1, steps // 20)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


class VaeTraining:
    """Encoder and decoder, trained together; the state is kept, so that it can go on.

    Args:
        sets: uint8 images [N, S, S, 3], one array per set.
        settings: sizes, steps, rates.
        perceptual: distance [B] of two batches [B, 3, S, S] in [-1, 1], for the last stretch.
        device: where to train.
        state: file that keeps the state between processes; None: it is not kept.
    """

    def __init__(
        self,
        sets: Sequence[np.ndarray],
        settings: Settings,
        perceptual: nn.Module,
        device: torch.device,
        state: Path | None,
    ) -> None:
        self.sets, self.settings, self.device, self.state = sets, settings, device, state
        self.perceptual = perceptual.to(device)
        torch.manual_seed(settings.seed)
        self.vae = make_vae(settings).to(device, memory_format=torch.channels_last).train()
        self.optimizer = torch.optim.AdamW(
            self.vae.parameters(), lr=settings.vae_learning_rate, weight_decay=0, fused=True
        )
        self.step = 0
        if state is not None and state.exists():
            self._go_on(state)

    @property
    def steps(self) -> int:
        """Of the whole training."""
        return self.settings.vae_crop_steps + self.settings.vae_whole_steps

    def run(self) -> AutoencoderKL:
        """Train to the last step; the latents come out with mean 0 and variance 1."""
        while self.step < self.steps:
            loss = self.update()
            if self.step % 50 == 0:
                log.info("vae %d/%d loss %.4f", self.step, self.steps, loss.item())
            if self.state is not None and self.step % KEEP_EVERY == 0:
                self._keep(self.state)
        share = max(1, STANDARD_IMAGES // len(self.sets))
        some = np.concatenate([images[:share] for images in self.sets])
        return standardise_latents(self.vae.eval(), some)

    def update(self) -> Tensor:
        """One step of the optimiser; returns its loss."""
        settings = self.settings
        x = to_pixels(_batch(self.sets, self.step, settings), self.device)
        # A seed of its own for each step: the posterior's noise does not depend on resuming.
        torch.manual_seed(settings.seed * 1_000_003 + self.step)
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            posterior = self.vae.encode(x).latent_dist
            result = self.vae.decode(posterior.sample()).sample.float()
        loss = reconstruction_loss(result, x)
        loss = loss + settings.vae_kl_weight * posterior.kl().float().mean() / x[0].numel()
        if self.step >= settings.vae_crop_steps:
            few = settings.vae_perceptual_images
            distance = self.perceptual(result[:few], x[:few]).mean()
            loss = loss + settings.vae_perceptual_weight * distance
        for group in self.optimizer.param_groups:
            group["lr"] = settings.vae_learning_rate * _rate(self.step, self.steps)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.vae.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        return loss.detach()

    def _keep(self, state: Path) -> None:
        kept = {"vae": self.vae.state_dict(), "optimizer": self.optimizer.state_dict()}
        with atomic_path(state) as partial:
            torch.save(kept | {"step": self.step}, partial)

    def _go_on(self, state: Path) -> None:
        kept = torch.load(state, map_location=self.device, weights_only=True)
        self.vae.load_state_dict(kept["vae"])
        self.optimizer.load_state_dict(kept["optimizer"])
        self.step = kept["step"]
        log.info("vae goes on from step %d", self.step)


@torch.no_grad()
def standardise_latents(vae: AutoencoderKL, images: np.ndarray) -> AutoencoderKL:
    """Give every latent channel mean 0 and variance 1 over `images`, changing no reconstruction.

    The shift and scale are folded into the 1x1 convolutions on either side of the latents.

    Args:
        images: [N, S, S, 3] uint8.
    """
    latents = encode_all(vae, images, exact=True).to(vae.device)
    shift, scale = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    channels = len(shift)
    into, out_of = vae.quant_conv, vae.post_quant_conv
    out_of.bias += out_of.weight[:, :, 0, 0] @ shift
    out_of.weight *= scale.view(1, -1, 1, 1)
    into.bias[:channels] = (into.bias[:channels] - shift) / scale
    into.weight[:channels] /= scale.view(-1, 1, 1, 1)
    into.bias[channels:] -= 2 * scale.log()  # the log-variances
    vae.register_to_config(scaling_factor=1.0)
    return vae


@torch.no_grad()
def encode_all(
    vae: AutoencoderKL, images: np.ndarray, batch: int = 16, *, exact: bool = False
) -> Tensor:
    """Mean latents [N, C, h, w] of uint8 images [N, S, S, 3], not yet scaled, on the CPU.

    In bfloat16, at a third of the time; that moves them by half a hundredth of their spread, and
    otherwise on other processors. `exact`: in float32.
    """
    parts = []
    with torch.autocast(vae.device.type, dtype=torch.bfloat16, enabled=not exact):
        for start in range(0, len(images), batch):
            pixels = to_pixels(images[start : start + batch], vae.device)
            parts.append(vae.encode(pixels).latent_dist.mode().float().cpu())
    return torch.cat(parts)


@torch.no_grad()
def score_vae(vae: AutoencoderKL, images: np.ndarray) -> dict[str, float]:
    """Peak signal-to-noise ratio of encoded and decoded uint8 images [N, S, S, 3], decibels."""
    ratios = []
    for start in range(0, len(images), 64):
        x = to_pixels(images[start : start + 64], vae.device)
        result = vae.decode(vae.encode(x).latent_dist.mode()).sample.clamp(-1, 1)
        errors = (result - x).square().mean((1, 2, 3))
        ratios.append(10 * torch.log10(4 / errors))
    found = torch.cat(ratios)
    return {
        "faces": len(found),
        "psnr_db": found.mean().item(),
        "worst_psnr_db": found.min().item(),
    }
