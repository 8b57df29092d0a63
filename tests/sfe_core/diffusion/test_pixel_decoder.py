"""Latents to pixels: the full decoder as the pipeline uses it, or a tiny one of the same space."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny

from sfe_core.diffusion.pixel_decoder import load_pixel_decoder
from sfe_core.errors import UserError


@pytest.fixture
def vae(tiny_base) -> AutoencoderKL:
    return AutoencoderKL.from_pretrained(tiny_base, subfolder="vae")


def save_tiny(folder, levels: int = 3, channels: int = 4):
    """A random TAESD with fewer and narrower blocks, saved."""
    torch.manual_seed(0)
    widths = (8,) * levels
    blocks = (1,) * levels
    AutoencoderTiny(
        encoder_block_out_channels=widths,
        decoder_block_out_channels=widths,
        num_encoder_blocks=blocks,
        num_decoder_blocks=blocks,
        latent_channels=channels,
    ).save_pretrained(folder)
    return folder


def test_the_full_decoder_undoes_the_scaling(vae):
    latents = torch.randn(2, 4, 8, 8)
    decoder = load_pixel_decoder("vae", vae)
    expected = vae.decode(latents / vae.config.scaling_factor).sample
    assert torch.equal(decoder(latents), expected)


@pytest.mark.parametrize("kind", ["vae", "tiny"])
def test_gradient_passes_through_to_the_latents_and_not_to_the_weights(kind, vae, tmp_path):
    name = "vae" if kind == "vae" else str(save_tiny(tmp_path / "taesd"))
    decoder = load_pixel_decoder(name, vae)
    latents = torch.randn(1, 4, 8, 8, requires_grad=True)
    images = decoder(latents)
    assert images.shape == (1, 3, 32, 32) and images.dtype == torch.float32
    images.square().sum().backward()
    assert (latents.grad.abs() > 0).float().mean() > 0.9
    assert not any(parameter.requires_grad for parameter in decoder.parameters())
    decoder.train()
    assert not any(module.training for module in decoder.modules())


def test_a_tiny_decoder_takes_latents_as_the_unet_has_them(vae, tmp_path):
    decoder = load_pixel_decoder(str(save_tiny(tmp_path / "taesd")), vae)
    tiny = AutoencoderTiny.from_pretrained(tmp_path / "taesd")
    latents = torch.randn(1, 4, 8, 8)
    assert tiny.config.scaling_factor == 1.0
    with torch.no_grad():
        assert torch.equal(decoder(latents), tiny.decode(latents).sample)


@pytest.mark.parametrize(
    ("shape", "problem"),
    [({"levels": 4}, "8 pixels per latent.*has 4"), ({"channels": 16}, "16 latent channels")],
)
def test_another_latent_space_is_refused(shape, problem, vae, tmp_path):
    folder = save_tiny(tmp_path / "taesd", **shape)
    with pytest.raises(UserError, match=f"loss.pixel_decoder.*{problem}"):
        load_pixel_decoder(str(folder), vae)


def test_what_is_no_tiny_decoder_or_not_there_is_refused(vae, tiny_base, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="loss.pixel_decoder.*is no AutoencoderTiny"):
        load_pixel_decoder(str(tmp_path / "empty"), vae)
    with pytest.raises(UserError, match="sfe assets fetch taesd"):
        load_pixel_decoder("taesd", vae)
