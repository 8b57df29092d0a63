"""The guided UNet: guided or not, its UNet stays diffusers' own."""

from __future__ import annotations

import pytest
import torch
from diffusers import UNet2DConditionModel

from sfe_core.diffusion.guidance import GuidanceBank
from sfe_core.diffusion.guided_unet import GuidedUNet
from tests.sfe_core.diffusion.test_guidance import awake


@pytest.fixture
def model(tiny_base) -> GuidedUNet:
    unet = UNet2DConditionModel.from_pretrained(tiny_base, subfolder="unet")
    return GuidedUNet(unet, awake(GuidanceBank(("landmarks",), (16, 32, 64), 16)))


@pytest.fixture
def inputs() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(2, 4, 8, 8, generator=generator),
        torch.tensor([10, 900]),
        torch.randn(2, 32, 32, generator=generator),
    )


@torch.no_grad()
def test_without_maps_it_is_the_unet(model, inputs):
    noisy, times, text = inputs
    plain = model.unet(noisy, times, encoder_hidden_states=text).sample
    assert torch.equal(model(*inputs), plain)
    assert torch.equal(model(*inputs, maps={}), plain)


@torch.no_grad()
def test_dropped_images_are_predicted_as_without_maps(model, inputs):
    maps = {"landmarks": torch.rand(2, 3, 32, 32)}
    plain, mixed = model(*inputs), model(*inputs, maps=maps, keep=[False, True])
    torch.testing.assert_close(mixed[0], plain[0])
    assert (mixed[1] - plain[1]).abs().max() > 1e-3


def test_the_saved_unet_is_a_plain_one(model, inputs, tmp_path):
    model(*inputs, maps={"landmarks": torch.rand(2, 3, 32, 32)})
    model.unet.save_pretrained(tmp_path)
    again = UNet2DConditionModel.from_pretrained(tmp_path)
    assert again.state_dict().keys() == model.unet.state_dict().keys()
    noisy, times, text = inputs
    with torch.no_grad():
        drawn = again(noisy, times, encoder_hidden_states=text).sample
        assert torch.equal(drawn, model(*inputs))
