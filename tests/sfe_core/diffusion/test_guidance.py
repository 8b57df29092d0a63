"""Guidance encoders: names, shapes, zero start, strengths and dropout."""

from __future__ import annotations

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import nn

from sfe_core.diffusion.guidance import GuidanceBank, GuidanceEncoder, added_to_conv_in
from sfe_core.errors import RunError, UserError


def awake(bank: GuidanceBank) -> GuidanceBank:
    """The bank with its last convolutions off zero, as after some training."""
    torch.manual_seed(3)
    for encoder in bank.encoders.values():
        nn.init.normal_(encoder.conv_out.weight, std=0.1)
    return bank


@pytest.fixture
def bank() -> GuidanceBank:
    return awake(GuidanceBank(("landmarks", "depth"), (16, 32, 64), 24))


@pytest.fixture
def maps() -> dict[str, torch.Tensor]:
    torch.manual_seed(4)
    return {name: torch.rand(2, 3, 16, 16) for name in ("landmarks", "depth")}


def test_names_and_shapes_are_those_of_the_published_encoders():
    state = GuidanceEncoder((16, 32, 96, 256), 320).state_dict()
    widths = [16, 16, 32, 32, 96, 96, 256]
    for block in range(6):
        assert state[f"blocks.{block}.weight"].shape[:2] == (widths[block + 1], widths[block])
    last = "attentions.5"
    assert state[f"{last}.norm.weight"].shape == (256,)
    assert state[f"{last}.proj_in.weight"].shape == (256, 256, 1, 1)
    inner = {
        name.removeprefix(f"{last}.transformer_blocks.0.")
        for name in state
        if name.startswith(f"{last}.transformer_blocks.0.")
    }
    assert inner == {
        *("norm1.weight", "norm1.bias", "norm3.weight", "norm3.bias"),
        *("attn1.to_q.weight", "attn1.to_k.weight", "attn1.to_v.weight"),
        *("attn1.to_out.0.weight", "attn1.to_out.0.bias"),
        *("ff.net.0.proj.weight", "ff.net.0.proj.bias", "ff.net.2.weight", "ff.net.2.bias"),
    }
    assert state["guidance_attention.proj_out.weight"].shape == (256, 256, 1, 1)
    assert state["conv_out.weight"].shape == (320, 256, 3, 3)


def test_groups_are_those_of_the_published_encoders():
    encoder = GuidanceEncoder((16, 32, 96, 256), 320)
    groups = [attention.norm.num_groups for attention in encoder.attentions]
    assert groups == [1, 32, 1, 32, 1, 32]
    assert encoder.guidance_attention.norm.num_groups == 32


def test_only_the_last_attention_runs_and_trains():
    encoder = GuidanceEncoder((16, 32, 64), 8)
    nn.init.ones_(encoder.conv_out.weight)
    encoder(torch.rand(1, 3, 16, 16)).square().sum().backward()
    for name, parameter in encoder.named_parameters():
        unused = name.startswith(("attentions.0", "attentions.1", "attentions.2", "guidance_att"))
        assert (parameter.grad is None) == unused, name
        assert parameter.requires_grad != unused, name


def test_an_untrained_bank_adds_nothing(maps):
    fresh = GuidanceBank(("landmarks", "depth"), (16, 32, 64), 24)
    features = fresh(maps)
    assert features.shape == (2, 24, 4, 4)
    assert not features.any()


@pytest.mark.parametrize("widths", [(16, 32, 64), (16, 32, 64, 96), (16, 32, 96, 256)])
def test_what_a_map_shows_reaches_the_last_convolution_of_a_fresh_encoder(widths):
    torch.manual_seed(0)
    encoder, reached = GuidanceEncoder(widths, 8), []
    encoder.conv_out.register_forward_pre_hook(lambda _, given: reached.append(given[0]))
    square = torch.zeros(2, 3, 64, 64)
    square[0, :, 8:32, 8:32] = 1
    square[1, :, 16:56, 24:48] = 0.5
    with torch.no_grad():
        encoder(square)
    (features,) = reached
    assert (features[0] - features[1]).std() > 0.1 * features.std()


def test_features_are_summed_with_their_strengths(bank, maps):
    with torch.no_grad():
        landmarks = bank({"landmarks": maps["landmarks"]})
        depth = bank({"depth": maps["depth"]})
        both = bank(maps, {"depth": 0.5})
    assert landmarks.abs().max() > 0
    torch.testing.assert_close(both, landmarks + 0.5 * depth)


def test_strength_zero_is_no_guidance(bank, maps):
    assert not bank(maps, {"landmarks": 0, "depth": 0}).any()


def test_dropped_images_get_exactly_nothing(bank, maps):
    features = bank(maps, keep=[False, True])
    assert not features[0].any()
    torch.testing.assert_close(features[1], bank(maps)[1])
    torch.testing.assert_close(bank(maps, keep=[True, True]), bank(maps))


def test_with_every_image_dropped_all_encoders_still_take_part(bank, maps):
    # Under DDP a parameter without gradient would leave the other processes waiting.
    features = bank(maps, keep=[False, False])
    assert not features.any()
    features.sum().backward()
    assert all(p.grad is not None for p in bank.parameters() if p.requires_grad)


@pytest.mark.parametrize("names", [{"nose": 1.0}])
def test_unknown_maps_are_refused(bank, maps, names):
    with pytest.raises(UserError, match="nose.*landmarks, depth"):
        bank(maps, names)
    with pytest.raises(UserError, match="nose"):
        bank({"nose": maps["depth"]})


@pytest.mark.parametrize("widths", [(16,), (12, 32)])
def test_impossible_widths_are_refused(widths):
    with pytest.raises(UserError, match="guidance.block_channels"):
        GuidanceEncoder(widths, 8)


def test_a_bank_survives_the_disk(bank, maps, tmp_path):
    bank.save_pretrained(tmp_path)
    again = GuidanceBank.from_pretrained(tmp_path)
    assert again.map_names == ("landmarks", "depth")
    assert torch.equal(again(maps), bank(maps))


def test_the_hook_guides_the_second_half_of_a_pair_and_then_goes(tiny_base):
    unet = UNet2DConditionModel.from_pretrained(tiny_base, subfolder="unet")
    latents, features = torch.randn(2, 4, 8, 8), torch.randn(1, 16, 8, 8)
    plain = unet.conv_in(latents)
    with added_to_conv_in(unet, features):
        guided = unet.conv_in(latents)
    assert torch.equal(guided[0], plain[0])
    torch.testing.assert_close(guided[1], plain[1] + features[0])
    assert torch.equal(unet.conv_in(latents), plain)


def test_a_compiled_network_never_drops_the_maps_in_silence():
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv_in = nn.Conv2d(1, 1, 1)

        def forward(self, noisy: torch.Tensor) -> torch.Tensor:
            return 2.0 * self.conv_in(noisy)

    network, noisy, features = Network(), torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2)
    plain = network(noisy)
    with added_to_conv_in(network, features):
        torch.testing.assert_close(network(noisy), plain + 2.0)
    compiled = torch.compile(network, backend="eager")
    compiled(noisy)
    with pytest.raises(RunError, match="passed the maps by; compile its blocks alone"):
        with added_to_conv_in(compiled, features):
            compiled(noisy)
