"""The whole rig: published names and sizes, conditions, checkpointing, saving."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sfe_core.diffusion.physical.diffusion_rig import DiffusionRig
from sfe_core.errors import UserError
from tests.sfe_core.diffusion.physical.rigs import inputs, small_rig

_BOTH = ("weight", "bias")
# Stages of the published 256 px network whose first block changes the width.
_WIDER_DOWN = (7, 13)
_ATTENDING_DOWN, _ATTENDING_UP = (13, 14), (3, 4, 5)
_DOUBLING = {2: 1, 5: 2, 8: 1, 11: 1, 14: 1}


def block_names(place: str, wider: bool) -> set[str]:
    layers = ["in_layers.0", "in_layers.2", "emb_layers.1", "cond_emb_layers.1"]
    layers += ["out_layers.0", "out_layers.3"] + ["skip_connection"] * wider
    return {f"{place}.{layer}.{kind}" for layer in layers for kind in _BOTH}


def attention_names(place: str) -> set[str]:
    return {f"{place}.{layer}.{kind}" for layer in ("norm", "qkv", "proj_out") for kind in _BOTH}


def unet_names() -> set[str]:
    """Of the published 256 px UNet."""
    plain = ("time_embed.0", "time_embed.2", "input_blocks.0.0", "out.0", "out.2")
    names = {f"{layer}.{kind}" for layer in plain for kind in _BOTH}
    for stage in range(1, 18):
        names |= block_names(f"input_blocks.{stage}.0", stage in _WIDER_DOWN)
    for stage in _ATTENDING_DOWN:
        names |= attention_names(f"input_blocks.{stage}.1")
    names |= block_names("middle_block.0", False) | block_names("middle_block.2", False)
    names |= attention_names("middle_block.1")
    for stage in range(18):
        names |= block_names(f"output_blocks.{stage}.0", True)  # a skip joins: always wider
    for stage in _ATTENDING_UP:
        names |= attention_names(f"output_blocks.{stage}.1")
    for stage, place in _DOUBLING.items():
        names |= block_names(f"output_blocks.{stage}.{place}", False)
    return names


def test_names_and_counts_are_those_published():
    with torch.device("meta"):
        rig = DiffusionRig()
    state = rig.state_dict()
    assert {name for name in state if not name.startswith("encoder.")} == {
        f"denoisingUNet.{name}" for name in unet_names()
    }
    assert len(state) == 712
    assert sum(tensor.numel() for tensor in state.values()) == 144_619_799
    assert sum(one.numel() for one in rig.denoisingUNet.parameters()) == 133_400_835
    shapes = {name.removeprefix("denoisingUNet."): tuple(state[name].shape) for name in state}
    assert shapes["input_blocks.0.0.weight"] == (128, 12, 3, 3)
    assert shapes["input_blocks.1.0.cond_emb_layers.1.weight"] == (256, 64)
    assert shapes["input_blocks.13.0.skip_connection.weight"] == (512, 256, 1, 1)
    assert shapes["input_blocks.13.1.qkv.weight"] == (1536, 512, 1)
    assert shapes["out.2.weight"] == (3, 128, 3, 3)


@pytest.mark.parametrize(
    ("size", "parameters", "tensors"),
    [(64, 96_312_707, 534), (128, 99_960_067, 624), (512, 134_753_475, 804)],
)
def test_other_sizes_have_the_published_widths(size, parameters, tensors):
    with torch.device("meta"):
        rig = DiffusionRig(image_size=size)
    assert sum(one.numel() for one in rig.denoisingUNet.parameters()) == parameters
    assert len(rig.state_dict()) == tensors


def test_a_size_without_published_widths_is_refused():
    with pytest.raises(UserError, match="96 px has no published widths.*64, 128, 256, 512"):
        DiffusionRig(image_size=96)


def test_every_input_and_the_code_matter():
    rig, given = small_rig(), inputs()
    with torch.no_grad():
        found = rig(**given)
        assert found.shape == (2, 3, 32, 32)
        for name in given:
            changed = {**given, name: given[name].flip(0)}
            assert (rig(**changed) - found).abs().max() > 1e-3, name
        code = rig.encode(given.pop("pictures"))
        torch.testing.assert_close(rig(**given, code=code), found, atol=1e-5, rtol=1e-5)
        for name, parameter in rig.denoisingUNet.named_parameters():
            if "cond_emb_layers" in name:
                nn.init.zeros_(parameter)
        silent = rig(**given, code=code)
        torch.testing.assert_close(rig(**given, code=-code), silent, atol=0, rtol=0)


def test_an_encoder_that_sees_a_few_pixels_tells_no_details():
    pictures = inputs()["pictures"]
    blocks = pictures.unfold(2, 8, 8).unfold(3, 8, 8).mean((-1, -2))
    shown = torch.nn.functional.interpolate(blocks, (32, 32), mode="bilinear")
    whole, few = small_rig(), small_rig(seen_px=4)
    few.load_state_dict(whole.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(few.encode(pictures), whole.encode(shown))
        assert (few.encode(pictures) - whole.encode(pictures)).abs().max() > 1e-3


def test_the_wider_code_of_the_second_emo_version():
    rig, given = small_rig(latent_width=64, extra_width=250), inputs()
    layer = rig.state_dict()["denoisingUNet.input_blocks.1.0.cond_emb_layers.1.weight"]
    assert layer.shape == (64, 314)
    shape = torch.randn(2, 250)
    found, other = rig(**given, extra=shape), rig(**given, extra=-shape)
    assert (found - other).abs().max() > 1e-3
    with pytest.raises(ValueError, match="of 0 numbers, where the network takes 250"):
        rig(**given)


def test_code_and_pictures_exclude_each_other():
    rig, given = small_rig(), inputs()
    with pytest.raises(ValueError, match="either a code or the pictures"):
        rig(**given, code=torch.zeros(2, 6))
    del given["pictures"]
    with pytest.raises(ValueError, match="either a code or the pictures"):
        rig(**given)


def test_checkpointing_gives_the_same_gradients():
    gradients = []
    for checkpointed in (False, True):
        rig = small_rig().train()
        if checkpointed:
            rig.enable_gradient_checkpointing()
        assert rig.is_gradient_checkpointing == checkpointed
        torch.manual_seed(7)  # of the dropout
        rig(**inputs()).square().mean().backward()
        gradients.append({name: one.grad for name, one in rig.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)


def test_a_frozen_encoder_does_not_move_while_the_unet_learns():
    rig = small_rig()
    rig.freeze_encoder()
    rig.train()
    assert rig.denoisingUNet.training and not rig.encoder.bn1.training
    before = {name: tensor.clone() for name, tensor in rig.encoder.state_dict().items()}
    rig(**inputs(4)).square().mean().backward()
    assert all(one.grad is None for one in rig.encoder.parameters())
    assert all(one.grad is not None for one in rig.denoisingUNet.parameters())
    after = rig.encoder.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_saved_as_safetensors_it_comes_back(tmp_path, dtype):
    rig, given = small_rig(), inputs()
    rig.save_pretrained(tmp_path)
    assert (tmp_path / "diffusion_pytorch_model.safetensors").is_file()
    again = DiffusionRig.from_pretrained(tmp_path, torch_dtype=dtype).eval()
    assert again.config["multipliers"] == [1, 2]
    with torch.no_grad():
        wanted = rig(**given)
        times = given.pop("timesteps")
        cast = {name: tensor.to(dtype) for name, tensor in given.items()}
        found = again(**cast, timesteps=times)
    assert found.dtype == dtype
    room = 0 if dtype == torch.float32 else 0.1 * wanted.abs().max().item()
    torch.testing.assert_close(found.float(), wanted, atol=room, rtol=0)
