"""Latents to pixels for the loss: the base's own decoder, or a tiny stand-in for it."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from torch import Tensor, nn

from sfe_core.assets import locate
from sfe_core.errors import UserError

FULL = "vae"


class PixelDecoder(nn.Module):
    """Frozen: the gradient passes through it to the latents, and never to its own weights.

    Args:
        vae: what decodes; its own scaling factor is divided out.
    """

    def __init__(self, vae: AutoencoderKL | AutoencoderTiny) -> None:
        super().__init__()
        self.vae = vae.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> PixelDecoder:
        """Stay in evaluation mode, whatever is asked."""
        del mode
        return super().train(False)

    def forward(self, latents: Tensor) -> Tensor:
        """[B, C, h, w], as the UNet sees them, to images [B, 3, f h, f w] in about [-1, 1]."""
        scaled = latents / self.vae.config.scaling_factor
        return self.vae.decode(scaled, return_dict=False)[0].float()


def load_pixel_decoder(name: str, vae: AutoencoderKL) -> PixelDecoder:
    """The decoder that sfe.yaml names.

    Args:
        name: "vae" for `vae` itself, else an AutoencoderTiny: an asset's name (taesd, Bohan 2023,
            https://github.com/madebyollin/taesd, twenty times faster) or a folder.
        vae: of the base model.

    Raises:
        UserError: the asset is missing, is no AutoencoderTiny, or of another latent space.
    """
    if name == FULL:
        return PixelDecoder(vae)
    folder = Path(locate(name))
    try:
        tiny = AutoencoderTiny.from_pretrained(
            folder, local_files_only=True, torch_dtype=torch.float32
        )
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            "loss.pixel_decoder", f"{folder} is no AutoencoderTiny ({error})", "use vae, or taesd"
        ) from error
    shapes = {"latent channels": (tiny.config.latent_channels, vae.config.latent_channels)}
    factors = (tiny.config.decoder_block_out_channels, vae.config.block_out_channels)
    shapes["pixels per latent"] = tuple(2 ** (len(widths) - 1) for widths in factors)
    for what, (found, wanted) in shapes.items():
        if found != wanted:
            raise UserError(
                "loss.pixel_decoder",
                f"{folder} has {found} {what}, the base model's VAE has {wanted}",
                "use vae, or a tiny decoder made for this base",
            )
    return PixelDecoder(tiny)
