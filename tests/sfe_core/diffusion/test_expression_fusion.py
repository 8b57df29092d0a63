"""The fusion's own arithmetic: attention, gates, window, temperature; its file."""

from __future__ import annotations

import math

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from sfe_core.diffusion.expression_fusion import (
    ExpressionFusion,
    FusedSkip,
    SkipFusion,
    middle_skips,
)
from sfe_core.errors import UserError
from tests.fusion_unets import SD15, SDXL, unet_of


def features(seed: int, *shape: int, spread: float = 1.0) -> Tensor:
    return spread * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def skip() -> SkipFusion:
    torch.manual_seed(0)
    return SkipFusion(32, rank=16, gate=1.0)


# Attention


def test_rows_sum_to_one(skip):
    full, expression = features(1, 2, 32, 6, 4), features(2, 2, 32, 6, 4)
    for rows in skip.rows(full, expression):
        assert rows.shape == (2, 24, 24)
        torch.testing.assert_close(rows.sum(2), torch.ones(2, 24))


def test_of_equal_features_and_a_high_temperature_it_is_the_identity(skip):
    full = features(1, 2, 32, 6, 4, spread=30.0)
    with torch.no_grad():
        skip.log_temperature.fill_(math.log(1e5))
    torch.testing.assert_close(skip.mixed(full, full), full, rtol=1e-3, atol=1e-3)


def test_it_is_the_formula(skip):
    """g = λ A_ei f + (1 - λ) A_ie e, each A a softmax over the other's tokens."""
    full, expression = features(1, 1, 32, 3, 5), features(2, 1, 32, 3, 5)
    with torch.no_grad():
        skip.balance.fill_(1.2)
        skip.to_k.weight.add_(features(3, 16, 32))  # so that roles cannot be exchanged unseen
    person, own = (one.flatten(2)[0].T for one in (full, expression))

    def unit(tokens: Tensor, layer: torch.nn.Linear) -> Tensor:
        flat = (tokens - tokens.mean(1, keepdim=True)) / (tokens.var(1, False, True) + 1e-5).sqrt()
        found = flat @ layer.weight.T
        return found / found.norm(dim=1, keepdim=True)

    tau, share = skip.log_temperature.exp(), torch.sigmoid(torch.tensor(1.2))
    to_person = (tau * unit(own, skip.to_q) @ unit(person, skip.to_k).T).softmax(1)
    to_own = (tau * unit(person, skip.to_q) @ unit(own, skip.to_k).T).softmax(1)
    wanted = share * to_person @ person + (1 - share) * to_own @ own
    torch.testing.assert_close(skip.mixed(full, expression).flatten(2)[0].T, wanted)
    weight = features(4, 1, 1, 3, 5).sigmoid()
    changed = full + weight * (wanted.T.view(1, 32, 3, 5) - full)
    torch.testing.assert_close(skip(full, expression, weight), changed)


def test_queries_and_keys_start_as_one_matrix_with_orthonormal_columns(skip):
    assert torch.equal(skip.to_q.weight, skip.to_k.weight)
    assert skip.to_q.weight is not skip.to_k.weight
    torch.testing.assert_close(skip.to_q.weight @ skip.to_q.weight.T, torch.eye(16))


def test_it_never_leaves_what_both_passes_had(skip):
    """A mean of convex combinations: half precision cannot overflow where its inputs did not."""
    full = features(1, 1, 32, 8, 8, spread=15000).clamp(-60000, 60000).half()
    expression = features(2, 1, 32, 8, 8, spread=15000).clamp(-60000, 60000).half()
    fused = skip(full, expression, torch.ones(1, 1, 1, 1))
    assert fused.dtype == torch.float16 and fused.isfinite().all()
    assert fused.abs().max() <= torch.maximum(full.abs().max(), expression.abs().max())
    assert not torch.equal(fused, full)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_attention_is_float32_under_autocast_and_in_half_precision(skip, dtype):
    full, expression = (features(seed, 1, 32, 8, 8).to(dtype) for seed in (1, 2))
    weight = torch.ones(1, 1, 1, 1)
    exact = skip(full.float(), expression.float(), weight)
    with torch.autocast("cpu", torch.bfloat16):
        fused = skip(full, expression, weight)
    assert fused.dtype == dtype
    assert torch.equal(fused, exact.to(dtype))


@pytest.mark.parametrize("shape", [(32, 1), (3, 7), (16, 16)])
def test_entropy_is_that_of_the_rows(skip, shape):
    full, expression = features(1, 2, 32, *shape), features(2, 2, 32, *shape)
    wanted = [
        -(rows * rows.log()).sum(2).mean() / math.log(math.prod(shape))
        for rows in skip.rows(full, expression)
    ]
    torch.testing.assert_close(skip.entropies(full, expression), torch.stack(wanted))


@pytest.mark.parametrize("tokens", [256, 1024])
def test_random_features_start_near_half_the_entropy(tokens):
    torch.manual_seed(0)
    skip = SkipFusion(320)
    side = math.isqrt(tokens)
    found = skip.entropies(features(1, 1, 320, side, side), features(2, 1, 320, side, side))
    assert ((found > 0.4) & (found < 0.6)).all()


def test_calibration_finds_the_temperature_of_smooth_features():
    fusion = ExpressionFusion((4, 7), (32, 32), rank=16)
    rough = features(1, 2, 32, 4, 4)
    smooth = torch.nn.functional.interpolate(rough, (16, 16), mode="bicubic")
    other = smooth + 0.3 * features(2, 2, 32, 16, 16)
    ones = torch.ones(2, 1, 16, 16)
    seen = [FusedSkip(number, smooth, other, smooth, ones, ones[:, 0, 0, 0]) for number in (4, 7)]
    fusion.calibrate(seen)
    for number in (4, 7):
        found = fusion.at(number).entropies(smooth, other).mean().item()
        assert found == pytest.approx(0.5, abs=0.01)


# Gates


def test_a_closed_gate_is_the_same_to_the_bit_and_learns_itself_alone():
    torch.manual_seed(0)
    skip = SkipFusion(32, rank=16)
    full, expression = features(1, 2, 32, 4, 4), features(2, 2, 32, 4, 4)
    fused = skip(full, expression, torch.ones(1, 1, 1, 1))
    assert torch.equal(fused, full)
    fused.square().sum().backward()
    assert skip.gate.grad != 0
    for name in ("to_q.weight", "to_k.weight", "log_temperature", "balance"):
        assert not skip.get_parameter(name).grad.any(), name


def test_an_open_gate_teaches_every_weight():
    torch.manual_seed(0)
    skip = SkipFusion(32, rank=16, gate=1e-3)
    skip(
        features(1, 2, 32, 4, 4), features(2, 2, 32, 4, 4), torch.ones(1)
    ).square().sum().backward()
    for name, weight in skip.named_parameters():
        assert weight.grad.abs().max() > 0, name


# Window


def test_the_window_is_closed_outside_and_rises_softly():
    fusion = ExpressionFusion((4,), (8,), window=(0.3, 0.7), edge=0.05)
    times = torch.tensor([0, 299, 300, 325, 350, 500, 650, 675, 700, 701, 999])
    wanted = torch.tensor([0, 0, 0, 0.5, 1, 1, 1, 0.5, 0, 0, 0])
    torch.testing.assert_close(fusion.window(times), wanted, atol=1e-5, rtol=0)
    jumps = fusion.window(torch.arange(1000)).diff().abs().max()
    assert jumps < 0.04


@pytest.mark.parametrize(("window", "edge"), [((0.5, 0.5), 0.05), ((0.7, 0.3), 0.0)])
def test_an_empty_window_is_never_open(window, edge):
    fusion = ExpressionFusion((4,), (8,), window=window, edge=edge)
    assert not fusion.window(torch.arange(1000)).any()


def test_without_an_edge_it_is_a_box_and_a_wide_edge_still_reaches_one():
    box = ExpressionFusion((4,), (8,), edge=0.0).window(torch.arange(1000))
    assert set(box.tolist()) == {0.0, 1.0} and box.sum() == 399
    soft = ExpressionFusion((4,), (8,), edge=0.5).window(torch.arange(1000))
    assert soft[500] == 1 and soft[400] == pytest.approx(0.5, abs=1e-4)


# Places


def test_the_skips_are_those_of_the_middle_levels():
    for shape in (SD15, SDXL):
        found = middle_skips(unet_of(shape))
        assert list(found) == [4, 5, 7, 8]
        assert [place.width for place in found.values()] == [24, 24, 32, 32]


def test_they_are_where_the_unet_has_them():
    """By a hook on every down block: the numbers count the UNet's own skip tensors."""
    unet = unet_of(SD15)
    skips: list[Tensor] = [torch.zeros(0)]  # the first convolution's
    for block in unet.down_blocks:
        block.register_forward_hook(lambda _module, _inputs, output: skips.extend(output[1]))
    with torch.no_grad():
        unet(torch.randn(1, 4, 16, 16), 500, torch.randn(1, 7, 24))
    assert len(skips) == 12
    assert [skips[number].shape[1:] for number in (4, 5)] == [(24, 8, 8)] * 2
    assert [skips[number].shape[1:] for number in (7, 8)] == [(32, 4, 4)] * 2


def test_a_unet_of_one_level_is_refused():
    unet = UNet2DConditionModel(
        block_out_channels=(8,),
        down_block_types=("CrossAttnDownBlock2D",),
        up_block_types=("CrossAttnUpBlock2D",),
        cross_attention_dim=8,
        attention_head_dim=4,
        norm_num_groups=4,
    )
    with pytest.raises(UserError, match="no second level"):
        ExpressionFusion.beside(unet)


def test_one_of_another_base_is_refused():
    fusion = ExpressionFusion.beside(unet_of(SD15))
    fusion.check_fits(unet_of(SDXL))  # the same levels, narrow as they are here
    with pytest.raises(UserError, match="4: 24 channels"):
        fusion.check_fits(unet_of(SD15 | {"block_out_channels": (16, 32, 32, 32)}))


# Its file


def test_it_comes_back_from_its_folder(tmp_path):
    fusion = ExpressionFusion.beside(unet_of(SD15), rank=8, gate=0.5, window=(0.2, 0.6))
    fusion.save_pretrained(tmp_path)
    read = ExpressionFusion.from_pretrained(tmp_path)
    assert read.config["window"] == [0.2, 0.6]
    for name, value in fusion.state_dict().items():
        assert torch.equal(read.state_dict()[name], value), name
    half = ExpressionFusion.from_pretrained(tmp_path, torch_dtype=torch.float16)
    assert half.dtype == torch.float16


@pytest.mark.parametrize("what", ["missing", "unexpected", "mismatched"])
def test_a_file_that_does_not_fit_is_refused(tmp_path, what):
    ExpressionFusion.beside(unet_of(SD15), rank=8).save_pretrained(tmp_path)
    (path,) = tmp_path.glob("*.safetensors")
    state = load_file(path)
    if what == "missing":
        del state["fusions.4.gate"]
    elif what == "unexpected":
        state["fusions.4.nose"] = torch.zeros(1)
    else:
        state["fusions.4.to_q.weight"] = torch.zeros(8, 25)
    save_file(state, path, {"format": "pt"})
    with pytest.raises(UserError, match=r"fusions\.4"):
        ExpressionFusion.from_pretrained(tmp_path)
