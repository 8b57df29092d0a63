"""FineFace's files, written here with random numbers under their published names."""

from __future__ import annotations

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor
from torch.nn import functional

from sfe_core.diffusion.fineface import guidance_pair, intensities_of, load_fineface
from sfe_core.diffusion.unit_attention import attend_to_units, cross_attentions
from sfe_core.errors import UserError

WIDTH, HIDDEN = 32, 16


@pytest.fixture
def unet(tiny_base) -> UNet2DConditionModel:
    return UNet2DConditionModel.from_pretrained(tiny_base, subfolder="unet")


@pytest.fixture
def states(unet) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    torch.manual_seed(0)
    processors = {
        f"{name}.processor.au_to_{part}.weight": torch.randn(layer.to_k.out_features, WIDTH)
        for name, layer in cross_attentions(unet).items()
        for part in ("k", "v")
    }
    encoder = {
        "au_encoder.weight": torch.randn(HIDDEN, 12),
        "au_encoder.bias": torch.randn(HIDDEN),
    }
    return processors, encoder


def load(folder, unet, states):
    paths = folder / "attn_processors.ckpt", folder / "au_encoder.ckpt"
    for path, state in zip(paths, states, strict=True):
        torch.save(state, path)
    return load_fineface(*paths, unet)


@torch.no_grad()
def test_its_term_is_the_same_vector_for_every_query(tmp_path, unet, states):
    adapter = load(tmp_path, unet, states)
    asked = intensities_of([{"AU1": 2, "AU26": 5}, {"AU12": 3.5}])
    keys = adapter(asked, scale=0.5)
    linear = asked @ states[1]["au_encoder.weight"].T + states[1]["au_encoder.bias"]
    token = functional.pad(torch.cat([asked, linear], 1), (0, WIDTH - 12 - HIDDEN))
    name, layer = next(iter(cross_attentions(unet).items()))
    value = token @ states[0][f"{name}.processor.au_to_v.weight"].T
    query = torch.randn(2, layer.heads, 6, value.shape[1] // layer.heads)
    wanted = 0.5 * value.view(2, layer.heads, 1, -1).expand_as(query)
    torch.testing.assert_close(keys.found(name, layer.heads, query), wanted)


@torch.no_grad()
def test_zeros_act_too_as_in_its_pipeline(tmp_path, unet, states):
    adapter = load(tmp_path, unet, states)
    attend_to_units(unet)
    noisy, text = torch.randn(4, 4, 8, 8), torch.randn(4, 32, WIDTH)
    plain = unet(noisy, 10, encoder_hidden_states=text).sample
    told = {"units": adapter(guidance_pair(intensities_of([{"AU1": 2}, {"AU12": 3}])))}
    steered = unet(noisy, 10, encoder_hidden_states=text, cross_attention_kwargs=told).sample
    assert ((steered - plain).flatten(1).abs().amax(1) > 1e-3).all()


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


def test_other_units_are_refused():
    with pytest.raises(UserError, match="AU7"):
        intensities_of([{"AU7": 1}])
