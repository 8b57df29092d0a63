"""The UNet: the second modulation, attention's order, and ADM as diffusers computes it."""

from __future__ import annotations

import pytest
import torch
from diffusers import UNet2DModel
from torch import nn
from torch.nn import functional

from sfe_core.diffusion.physical.rig_unet import ModulatedBlock, PlaceAttention, RigUNet
from sfe_core.errors import UserError
from tests.sfe_core.diffusion.physical.rigs import randomise

_BLOCK_NAMES = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}


@pytest.fixture
def block() -> ModulatedBlock:
    block = ModulatedBlock(32, 64, time_width=8, code_width=5, dropout=0.5).eval()
    randomise(block)
    return block


def test_time_and_code_modulate_one_after_the_other(block):
    features, time, code = torch.randn(2, 32, 8, 8), torch.randn(2, 8), torch.randn(2, 5)
    hidden = block.in_layers[2](functional.silu(block.in_layers[0](features)))
    hidden = block.out_layers[0](hidden)
    for branch, condition in ((block.emb_layers, time), (block.cond_emb_layers, code)):
        scale, shift = branch[1](functional.silu(condition))[:, :, None, None].split(64, dim=1)
        hidden = hidden * (1 + scale) + shift
    hidden = block.out_layers[3](functional.silu(hidden))
    wanted = block.skip_connection(features) + hidden
    torch.testing.assert_close(block(features, time, code), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("resample", "size"), [(0.5, 4), (1, 8), (2, 16)])
def test_a_block_changes_the_size(resample, size):
    block = ModulatedBlock(32, 32, 8, 5, 0.0, resample)
    features, time, code = torch.randn(1, 32, 8, 8), torch.randn(1, 8), torch.randn(1, 5)
    assert block(features, time, code).shape == (1, 32, size, size)


def test_a_head_has_its_queries_keys_and_values_together():
    attention = PlaceAttention(64, heads=2).eval()
    randomise(attention)
    features = torch.randn(2, 64, 4, 4)
    places = features.flatten(2)
    stacked = attention.qkv(attention.norm(places))
    seen = []
    for head in range(2):
        query, key, value = stacked[:, head * 96 : (head + 1) * 96].transpose(1, 2).split(32, 2)
        seen.append(functional.scaled_dot_product_attention(query, key, value).transpose(1, 2))
    wanted = (places + attention.proj_out(torch.cat(seen, dim=1))).reshape(features.shape)
    none = torch.empty(0)
    torch.testing.assert_close(attention(features, none, none), wanted, atol=1e-5, rtol=1e-5)


def diffusers_adm() -> UNet2DModel:
    """ADM of two levels, attending on the second, without the second modulation."""
    return UNet2DModel(
        sample_size=32,
        in_channels=12,
        out_channels=3,
        block_out_channels=(32, 64),
        layers_per_block=2,
        down_block_types=("ResnetDownsampleBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "ResnetUpsampleBlock2D"),
        downsample_type="resnet",
        upsample_type="resnet",
        resnet_time_scale_shift="scale_shift",
        attention_head_dim=None,
        norm_num_groups=32,
        attn_norm_num_groups=32,
        norm_eps=1e-5,
        flip_sin_to_cos=True,
        freq_shift=0,
    )


def _run_order(network: nn.Module, names: tuple[str, ...]) -> list[nn.Module]:
    """Residual blocks and attentions of diffusers' UNet, in the order in which they run."""
    found = []
    for block in (*network.down_blocks, network.mid_block, *network.up_blocks):
        resnets, attentions = list(block.resnets), list(getattr(block, "attentions", []))
        for place, resnet in enumerate(resnets):
            found.append(resnet)
            found += attentions[place : place + 1]
        for name in names:
            found += list(getattr(block, name, None) or [])
    return found


def _copy_block(target: ModulatedBlock, source: nn.Module) -> None:
    for theirs, ours in _BLOCK_NAMES.items():
        if getattr(source, theirs, None) is not None:
            target.get_submodule(ours).load_state_dict(getattr(source, theirs).state_dict())
    for parameter in target.cond_emb_layers.parameters():
        nn.init.zeros_(parameter)


def _copy_attention(target: PlaceAttention, source: nn.Module) -> None:
    target.norm.load_state_dict(source.group_norm.state_dict())
    for kind in ("weight", "bias"):
        parts = [getattr(one, kind) for one in (source.to_q, source.to_k, source.to_v)]
        stacked, out = torch.cat(parts).data, getattr(source.to_out[0], kind).data
        getattr(target.qkv, kind).data = stacked[..., None] if kind == "weight" else stacked
        getattr(target.proj_out, kind).data = out[..., None] if kind == "weight" else out


def test_without_a_code_it_is_adm_as_diffusers_has_it():
    theirs = diffusers_adm().eval()
    randomise(theirs)
    ours = RigUNet((32, 64), (1,), base_width=32, code_width=4).eval()
    stages = [*ours.input_blocks, ours.middle_block, *ours.output_blocks]
    layers = [layer for stage in stages for layer in stage if not isinstance(layer, nn.Conv2d)]
    sources = _run_order(theirs, ("downsamplers", "upsamplers"))
    for layer, source in zip(layers, sources, strict=True):
        if isinstance(layer, ModulatedBlock):
            _copy_block(layer, source)
        else:
            _copy_attention(layer, source)
    for target, source in (
        (ours.input_blocks[0][0], theirs.conv_in),
        (ours.time_embed[0], theirs.time_embedding.linear_1),
        (ours.time_embed[2], theirs.time_embedding.linear_2),
        (ours.out[0], theirs.conv_norm_out),
        (ours.out[2], theirs.conv_out),
    ):
        target.load_state_dict(source.state_dict())
    stacked, times = torch.randn(2, 12, 32, 32), torch.tensor([3, 700])
    with torch.no_grad():
        wanted = theirs(stacked, times).sample
        found = ours(stacked, times, torch.randn(2, 4))
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_a_fresh_one_predicts_nothing_yet():
    unet = RigUNet((32, 32), (1,), base_width=32, code_width=4)
    found = unet(torch.randn(1, 12, 16, 16), torch.tensor([5]), torch.randn(1, 4))
    assert found.shape == (1, 3, 16, 16)
    assert not found.any()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"widths": (32, 40)}, "40.*multiple of 32"),
        ({"widths": ()}, "at least one width"),
        ({"widths": (32,), "base_width": 33}, "33.*even"),
        ({"widths": (32, 64), "heads": 3}, "3 heads"),
    ],
)
def test_what_cannot_be_built_is_refused(settings, said):
    with pytest.raises(UserError, match=said):
        RigUNet(attentive_levels=(), **settings)
