"""The published encoder layout: strict loading, the same numbers, and a folder that draws."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from sfe_core.diffusion.champ_guidance import load_bank, load_champ_bank, save_champ_bank
from sfe_core.diffusion.guidance import GuidanceBank
from sfe_core.diffusion.guidance_files import bank_maps
from sfe_core.errors import UserError
from sfe_core.packaging.listing import guidance_maps
from sfe_core.sampling.pipelines import load_pipeline
from tests.published import OUT, PUBLISHED, WIDTHS, publish, random_state, save_published


def encode(state: dict[str, Tensor], image: Tensor, last: int) -> Tensor:
    """The published encoder in plain functions: convolutions, the last attention, convolution."""

    def conv(name: str, x: Tensor, **options: int) -> Tensor:
        return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], **options)

    def norm(name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"])

    hidden = F.silu(conv("conv_in", image, padding=1))
    for place in range(last + 1):
        hidden = F.silu(conv(f"blocks.{place}", hidden, padding=1, stride=1 + place % 2))
    batch, width, high, wide = hidden.shape
    name, inner = f"attentions.{last}", f"attentions.{last}.transformer_blocks.0"
    x = F.group_norm(hidden, 32, state[f"{name}.norm.weight"], state[f"{name}.norm.bias"], 1e-6)
    x = conv(f"{name}.proj_in", x).flatten(2).transpose(1, 2)
    normed = norm(f"{inner}.norm1", x)
    parts = (F.linear(normed, state[f"{inner}.attn1.to_{p}.weight"]) for p in "qkv")
    query, key, value = (p.reshape(batch, -1, 8, width // 8).transpose(1, 2) for p in parts)
    weights = (query @ key.transpose(-1, -2) / (width // 8) ** 0.5).softmax(-1)
    mixed = (weights @ value).transpose(1, 2).reshape(batch, -1, width)
    to_out, bias = (state[f"{inner}.attn1.to_out.0.{p}"] for p in ("weight", "bias"))
    x = x + F.linear(mixed, to_out, bias)
    first, second = (
        [state[f"{inner}.ff.net.{part}.{p}"] for p in ("weight", "bias")]
        for part in ("0.proj", "2")
    )
    shown, gate = F.linear(norm(f"{inner}.norm3", x), *first).chunk(2, dim=-1)
    x = x + F.linear(shown * F.gelu(gate), *second)
    x = conv(f"{name}.proj_out", x.transpose(1, 2).reshape(batch, width, high, wide))
    return conv("conv_out", hidden + x, padding=1)


@pytest.mark.parametrize(
    "pattern", ["{}_encoder_pytorch_model.bin", "guidance_encoder_{}.pth"], ids=["bin", "pth"]
)
def test_the_numbers_are_those_of_the_layers_written_out(tmp_path, pattern):
    states = publish(tmp_path, pattern=pattern)
    bank = load_champ_bank(tmp_path)
    assert bank.map_names == ("landmarks", "depth", "mesh") == bank_maps(tmp_path)
    image = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(7))
    for name, state in states.items():
        with torch.no_grad():
            ours = bank({name: image})
        expected = encode(state, image, last=3)
        assert expected.abs().max() > 0.1
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)
    assert not bank.training


def test_keys_saved_from_under_a_wrapper_and_half_precision_load(tmp_path):
    states = publish(tmp_path)
    wrapped = {f"module.{key}": value.half() for key, value in states["depth"].items()}
    torch.save(wrapped, tmp_path / "depth_encoder_pytorch_model.bin")
    encoder = load_champ_bank(tmp_path).encoders["depth"]
    assert encoder.conv_out.weight.dtype == torch.float32
    torch.testing.assert_close(
        encoder.conv_out.weight, states["depth"]["conv_out.weight"], atol=1e-3, rtol=1e-3
    )


def test_one_encoder_alone_is_a_bank_of_one_map(tmp_path):
    publish(tmp_path)
    for name in ("alignment", "depth"):
        (tmp_path / f"{name}_encoder_pytorch_model.bin").unlink()
    assert load_bank(tmp_path).map_names == ("mesh",) == bank_maps(tmp_path)


@pytest.mark.parametrize("change", ["missing", "extra", "shape", "text", "widths"])
def test_whatever_does_not_fit_is_refused_by_name(tmp_path, change):
    state = publish(tmp_path)["mesh"]
    path = tmp_path / "flame_encoder_pytorch_model.bin"
    match = "flame_encoder_pytorch_model.bin"
    if change == "missing":
        del state["attentions.0.norm.bias"]
        match = "flame_encoder.*attentions.0.norm.bias"
    elif change == "extra":
        state["attentions.3.attn_temp.weight"] = torch.zeros(1)
        match = "flame_encoder.*attn_temp"
    elif change == "shape":
        state["blocks.0.bias"] = torch.zeros(3)
        match = "flame_encoder.*blocks.0.bias"
    elif change == "widths":
        state = random_state(9, (16, 32, 64), OUT)
        match = r"flame_encoder.*64.*alignment"
    torch.save(state, path)
    if change == "text":
        path.write_text("not a state dict")
    with pytest.raises(UserError, match=match):
        load_champ_bank(tmp_path)


def test_an_empty_folder_says_what_was_expected(tmp_path):
    with pytest.raises(UserError, match="alignment_encoder_pytorch_model.bin"):
        load_champ_bank(tmp_path)


def test_what_is_written_is_read_again(tmp_path):
    publish(tmp_path / "one")
    bank = load_champ_bank(tmp_path / "one")
    written = save_champ_bank(bank, tmp_path / "two")
    assert sorted(path.name for path in written) == sorted(
        path.name for path in (tmp_path / "one").iterdir()
    )
    again = load_bank(tmp_path / "two").state_dict()
    assert all(torch.equal(value, again[key]) for key, value in bank.state_dict().items())
    other = GuidanceBank(("nose",), WIDTHS, OUT)
    with pytest.raises(UserError, match="nose"):
        save_champ_bank(other, tmp_path / "three")


@pytest.fixture
def published_pipeline(tiny_base, tmp_path) -> Path:
    return save_published(tmp_path / "published", tiny_base)


def draw(pipeline, **guidance):
    generator = torch.Generator().manual_seed(0)
    options = {"num_inference_steps": 2, "output_type": "pt", "generator": generator}
    return pipeline("happy face", **options, **guidance).images


def test_the_published_folder_draws_as_it_is(published_pipeline):
    assert (published_pipeline / "unet" / "diffusion_pytorch_model.bin").is_file()
    assert guidance_maps(published_pipeline) == ("landmarks", "depth", "mesh")
    text, guided = (
        load_pipeline(variant, published_pipeline, "ddpm", torch.device("cpu"), torch.float32)
        for variant in ("text", "guided")
    )
    maps = {name: torch.rand(1, 3, 32, 32) for name in PUBLISHED}
    assert torch.equal(draw(guided), draw(text))
    assert (draw(guided, guidance_images=maps) - draw(text)).abs().max() > 0.01
