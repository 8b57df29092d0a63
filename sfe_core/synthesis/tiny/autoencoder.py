"""Training of the tiny autoencoder, and the scale of its latents."""

from __future__ import annotations

import logging

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

from sfe_core.synthesis.tiny.networks import make_vae
from sfe_core.synthesis.tiny.settings import Settings

log = logging.getLogger(__name__)


def _edges(images: Tensor) -> tuple[Tensor, Tensor]:
    return images.diff(dim=-1), images.diff(dim=-2)


def reconstruction_loss(result: Tensor, images: Tensor) -> Tensor:
    """L1 on pixels and on their differences, which keeps lids and lips sharp."""
    edges = sum(F.l1_loss(a, b) for a, b in zip(_edges(result), _edges(images), strict=True))
    return F.l1_loss(result, images) + 2.0 * edges


def _batches(images: Tensor, steps: int, batch: int, seed: int):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        chosen = torch.randint(len(images), (batch,), generator=generator)
        yield images[chosen].float().div(127.5).sub(1).contiguous(memory_format=torch.channels_last)


def train_vae(images: Tensor, settings: Settings) -> AutoencoderKL:
    """Train encoder and decoder together, then standardise the latents.

    Args:
        images: [N, 3, 64, 64] uint8.
    """
    torch.manual_seed(settings.seed)
    vae = make_vae(settings).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(
        vae.parameters(), lr=settings.vae_learning_rate, weight_decay=0, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.vae_learning_rate, total_steps=settings.vae_steps, pct_start=0.05
    )
    for step, x in enumerate(
        _batches(images, settings.vae_steps, settings.vae_batch, settings.seed)
    ):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            posterior = vae.encode(x).latent_dist
            result = vae.decode(posterior.sample()).sample
        divergence = posterior.kl().float().mean() / x[0].numel()
        loss = reconstruction_loss(result.float(), x) + settings.vae_kl_weight * divergence
        _update(vae, optimizer, schedule, loss)
        if step % 50 == 0:
            log.info("vae %d loss %.4f", step, loss.item())
    return standardise_latents(vae.eval(), images[:1024])


@torch.no_grad()
def standardise_latents(vae: AutoencoderKL, images: Tensor) -> AutoencoderKL:
    """Give every latent channel mean 0 and variance 1 over `images`, changing no reconstruction.

    The shift and scale are folded into the 1x1 convolutions on either side of the latents.

    Args:
        images: [N, 3, 64, 64] uint8.
    """
    latents = encode_all(vae, images)
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


def _update(vae, optimizer, schedule, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
    optimizer.step()
    schedule.step()


@torch.no_grad()
def encode_all(vae: AutoencoderKL, images: Tensor, batch: int = 64) -> Tensor:
    """Mean latents of uint8 images, [N, 4, 16, 16], not yet scaled."""
    parts = [
        vae.encode(chunk.float().div(127.5).sub(1)).latent_dist.mode()
        for chunk in images.split(batch)
    ]
    return torch.cat(parts)
