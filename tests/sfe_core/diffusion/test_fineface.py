"""FineFace's files, written here with random numbers under their published names."""

from __future__ import annotations

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor
from torch.nn import functional

from sfe_core.diffusion.fineface import (
    UNITS,
    FineFaceAttention,
    find_fineface,
    load_fineface,
    load_fineface_beside,
    units_kind,
)
from sfe_core.diffusion.guidance_files import ONE_TOKEN
from sfe_core.diffusion.unit_attention import (
    UnitAttention,
    UnitKeys,
    attend_to_units,
    cross_attentions,
    unit_conditions,
    units_told,
)
from sfe_core.errors import UserError
from tests.fineface_files import HIDDEN, fineface_states, write_fineface

WIDTH = 32
ASKED = [{"AU1": 2, "AU26": 5}, {"AU12": 3.5}]


@pytest.fixture
def unet(tiny_base) -> UNet2DConditionModel:
    return UNet2DConditionModel.from_pretrained(tiny_base, subfolder="unet")


@pytest.fixture
def states(unet) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    return fineface_states(unet)


def load(folder, unet, states):
    paths = folder / "attn_processors.ckpt", folder / "au_encoder.ckpt"
    for path, state in zip(paths, states, strict=True):
        torch.save(state, path)
    return load_fineface(*paths, unet)


def intensities_of(asked) -> Tensor:
    return torch.tensor([[float(wanted.get(name, 0)) for name in UNITS] for wanted in asked])


@torch.no_grad()
def test_its_term_is_the_same_vector_for_every_query(tmp_path, unet, states):
    adapter = load(tmp_path, unet, states)
    keys = adapter(unit_conditions(UNITS, ASKED), scale=0.5)
    asked = intensities_of(ASKED)
    linear = asked @ states[1]["au_encoder.weight"].T + states[1]["au_encoder.bias"]
    token = functional.pad(torch.cat([asked, linear], 1), (0, WIDTH - 12 - HIDDEN))
    name, layer = next(iter(cross_attentions(unet).items()))
    value = token @ states[0][f"{name}.processor.au_to_v.weight"].T
    query = torch.randn(2, layer.heads, 6, value.shape[1] // layer.heads)
    wanted = 0.5 * value.view(2, layer.heads, 1, -1).expand_as(query)
    torch.testing.assert_close(keys.found(name, layer.heads, query), wanted)


@torch.no_grad()
@pytest.mark.parametrize(("scale", "text_scale"), [(7.5, 7.5), (3.0, 7.5), (0.0, 7.5), (2.0, 1.0)])
def test_guidance_is_that_of_its_pipeline_where_both_scales_are_one(
    tmp_path, unet, states, scale, text_scale
):
    """Its pipeline tells zeros to the unconditional half, and scales the whole difference."""
    adapter = load(tmp_path, unet, states)
    zeros = dict.fromkeys(UNITS, 0.0)
    asked, none = (adapter(unit_conditions(UNITS, told)) for told in (ASKED, [zeros, zeros]))
    attend_to_units(unet)
    noisy, texts = torch.randn(2, 4, 8, 8), torch.randn(4, 32, WIDTH)
    plain_text, text = texts.chunk(2)

    def predict(states: Tensor, keys: UnitKeys) -> Tensor:
        told = {"units": keys}
        return unet(noisy, 10, encoder_hidden_states=states, cross_attention_kwargs=told).sample

    empty, worded, whole = (
        predict(plain_text, none), predict(text, none), predict(text, asked)
    )  # fmt: skip
    paired = text_scale > 1
    with units_told(unet, asked, scale, text_scale):
        if paired:
            first, second = unet(
                torch.cat([noisy] * 2), 10, encoder_hidden_states=texts
            ).sample.chunk(2)
            drawn = first + text_scale * (second - first)
        else:
            drawn = unet(noisy, 10, encoder_hidden_states=text).sample
    start = empty + text_scale * (worded - empty) if paired else worded
    wanted = start + scale * (whole - worded)
    if scale == text_scale:
        torch.testing.assert_close(
            wanted, empty + scale * (whole - empty), rtol=1e-4, atol=1e-4
        )  # theirs
    torch.testing.assert_close(drawn, wanted, rtol=1e-3, atol=1e-3)


def test_sides_and_bare_presence_are_refused(tmp_path, unet, states):
    adapter = load(tmp_path, unet, states)
    for told, said in (
        ({"AU12L": 3.0, "AU12R": 1.0}, "AU12: left and right differ"),
        ({"AU4L": 3.0}, "AU4: left and right differ"),
        ({"AU1_present": 1.0}, "AU1: FineFace's token knows no bare presence"),
    ):
        with pytest.raises(UserError, match=said):
            adapter(unit_conditions(UNITS, [{"AU9": 1.0}, told]))
    with pytest.raises(UserError, match="'AU7' is not known"):
        unit_conditions(adapter.units, [{"AU7": 1}])


def test_saved_and_loaded_it_is_the_same_and_known_by_its_kind(tmp_path, unet, states, tiny_base):
    adapter = load(tmp_path, unet, states)
    adapter.save_pretrained(tmp_path / "saved")
    assert units_kind(tmp_path / "saved") is FineFaceAttention
    assert FineFaceAttention.__name__ == ONE_TOKEN
    again = FineFaceAttention.from_pretrained(tmp_path / "saved")
    first, second = adapter.state_dict(), again.state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    again.check_fits(unet)
    UnitAttention.beside(unet, ("AU1",), 8).save_pretrained(tmp_path / "own")
    assert units_kind(tmp_path / "own") is UnitAttention


def test_the_files_of_sd15_come_first_and_no_weights_of_the_base_are_read(tmp_path, tiny_base):
    folder = write_fineface(tmp_path / "files", tiny_base, "")
    assert find_fineface(folder)[1].name == "au_encoder.ckpt"
    write_fineface(folder, tiny_base)
    assert find_fineface(folder)[0].name == "sd15_attn_processors.ckpt"
    (bare := tmp_path / "unet").mkdir()
    (bare / "config.json").write_bytes((tiny_base / "unet" / "config.json").read_bytes())
    assert load_fineface_beside(folder, bare).units == UNITS
    with pytest.raises(UserError, match="holds no attn_processors.ckpt and au_encoder.ckpt"):
        find_fineface(tmp_path)


def test_a_misfit_is_one_line(tmp_path, unet, states):
    processors, encoder = states
    name = next(iter(processors))
    with pytest.raises(UserError, match="no to_k"):
        load(tmp_path, unet, ({k: v for k, v in processors.items() if k != name}, encoder))
    with pytest.raises(UserError, match=r"unknown x\.weight"):
        load(tmp_path, unet, (processors | {"x.weight": torch.zeros(1)}, encoder))
    with pytest.raises(UserError, match="no au_encoder"):
        load(tmp_path, unet, (processors, {"au_encoder.bias": torch.zeros(64)}))
    with pytest.raises(UserError, match="width 32"):
        load(tmp_path, unet, (processors, {"au_encoder.weight": torch.zeros(756, 12)}))


def test_the_published_sizes_fit_stable_diffusion_15():
    """Shapes alone: 16 layers, 768 wide text, and 19.2 million numbers."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(cross_attention_dim=768)
        layers = cross_attentions(unet)
        widths = [layer.to_k.out_features for layer in layers.values()]
        made = FineFaceAttention(UNITS, list(layers), widths, 768, 756)
    projections = [tensor for name, tensor in made.state_dict().items() if "projections" in name]
    assert len(projections) == 32
    assert sum(tensor.numel() for tensor in projections) == pytest.approx(19.2e6, rel=0.01)
    assert made.encoder.weight.shape == (756, 12)
