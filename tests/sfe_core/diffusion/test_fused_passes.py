"""A UNet with fused skips: what stays as it is, to the bit, and what the decoder gets."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from sfe_core.diffusion.expression_fusion import ExpressionFusion
from sfe_core.diffusion.fused_passes import ExpressionPrompt, expression_fused
from sfe_core.diffusion.guidance import added_to_conv_in
from sfe_core.diffusion.unit_attention import UnitAttention, unit_conditions, units_told
from sfe_core.errors import RunError, UserError
from sfe_core.training.engine.lora import add_lora
from tests.fusion_unets import POOLED, SD15, SDXL, TEXT, inputs_of, unet_of
from tests.tiny_workspace import woken

SHAPES = {"sd15": SD15, "sdxl": SDXL}


@pytest.fixture(params=SHAPES)
def unet(request) -> UNet2DConditionModel:
    return unet_of(SHAPES[request.param])


@pytest.fixture
def sd15() -> UNet2DConditionModel:
    return unet_of(SD15)


def opened(unet: UNet2DConditionModel, **options: Any) -> ExpressionFusion:
    torch.manual_seed(0)
    return ExpressionFusion.beside(unet, **{"rank": 8, "gate": 1.0, **options})


def asked(batch: int = 2, seed: int = 5, **options: Any) -> ExpressionPrompt:
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(batch, 9, TEXT, generator=generator)  # longer than the person's prompt
    pooled = torch.randn(batch, POOLED, generator=generator)
    return ExpressionPrompt(states, pooled, **{"mask": torch.ones(1, 1, 8, 8), **options})


def call(unet: UNet2DConditionModel, given: dict[str, Any]) -> Tensor:
    return unet(**given).sample


def passes_of(unet: UNet2DConditionModel) -> list[int]:
    """Batches that the UNet's first convolution sees from now on."""
    seen: list[int] = []
    unet.conv_in.register_forward_hook(lambda _m, inputs, _o: seen.append(len(inputs[0])))
    return seen


# What stays


@torch.no_grad()
@pytest.mark.parametrize(
    ("options", "time", "strength"),
    [
        ({"gate": 0.0}, 500, 1.0),
        ({"window": (0.5, 0.5)}, 500, 1.0),
        ({}, 250, 1.0),
        ({}, 700, 1.0),
        ({}, 500, 0.0),
    ],
    ids=["gate 0", "empty window", "before", "at its end", "strength 0"],
)
def test_closed_it_is_the_unet_to_the_bit_and_one_pass(unet, options, time, strength):
    given = inputs_of(unet, 4, 8, 8, time)
    plain, seen = call(unet, given), passes_of(unet)
    with expression_fused(unet, opened(unet, **options), asked(strength=strength)):
        assert torch.equal(call(unet, given), plain)
    assert seen == [4]


@torch.no_grad()
def test_it_leaves_no_trace(sd15):
    given = inputs_of(sd15, 2, 8, 8)
    names, plain = list(sd15.state_dict()), call(sd15, given)
    with expression_fused(sd15, opened(sd15), asked()):
        assert (call(sd15, given) - plain).abs().max() > 1e-3
    assert torch.equal(call(sd15, given), plain)
    assert list(sd15.state_dict()) == names and "forward" not in vars(sd15)
    assert not any(module._forward_hooks for module in sd15.modules())


def test_closed_gates_are_the_same_where_gradients_are_wanted_too(unet):
    given = inputs_of(unet, 2, 8, 8)
    with expression_fused(unet, opened(unet, gate=0.0), asked()) as made:
        fused = call(unet, given)
    assert torch.equal(fused, call(unet, given))
    assert [one.number for one in made] == [4, 5, 7, 8]


# What the decoder gets


def same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one, other)


def skips_of(unet: UNet2DConditionModel, given: dict[str, Any]) -> list[Tensor]:
    found: list[Tensor] = []
    handles = [
        block.register_forward_hook(lambda _m, _i, output: found.extend(output[1]))
        for block in unet.down_blocks
    ]
    call(unet, given)
    for handle in handles:
        handle.remove()
    return [torch.zeros(0), *found]


def test_features_are_those_of_the_two_passes_and_reach_the_decoder(unet):
    given, told, fusion = inputs_of(unet, 2, 8, 8), asked(), opened(unet)
    full = skips_of(unet, given)
    other = given | {"encoder_hidden_states": told.states}
    if "added_cond_kwargs" in given:
        other["added_cond_kwargs"] = given["added_cond_kwargs"] | {"text_embeds": told.pooled}
    alone = skips_of(unet, other)
    got: list[Tensor] = []
    handles = [
        block.register_forward_pre_hook(
            lambda _m, _i, named: got.extend(named["res_hidden_states_tuple"]), with_kwargs=True
        )
        for block in reversed(unet.up_blocks)
    ]
    with expression_fused(unet, fusion, told) as made:
        call(unet, given)
    for handle in handles:
        handle.remove()
    for one in made:
        torch.testing.assert_close(one.full, full[one.number])
        torch.testing.assert_close(one.expression, alone[one.number])
        weight = torch.ones(2, 1, 1, 1)
        wanted = fusion.at(one.number)(one.full, one.expression, weight)
        assert torch.equal(one.fused, wanted)
        assert not torch.equal(one.fused, one.full)
        assert sum(same(skip, wanted) for skip in got) == 1
    # The encoder below, and the other skips, know nothing of it.
    for number in set(range(1, len(full))) - {4, 5, 7, 8}:
        assert any(same(skip, full[number]) for skip in got), number


@torch.no_grad()
@pytest.mark.parametrize("batch", [2, 4, 6])
def test_of_classifier_free_guidance_only_the_prompts_rows_are_fused(unet, batch):
    given = inputs_of(unet, batch, 8, 8)
    plain, seen = call(unet, given), passes_of(unet)
    with expression_fused(unet, opened(unet), asked()):
        fused = call(unet, given)
    assert seen == [2, batch]
    assert torch.equal(fused[: batch - 2], plain[: batch - 2])
    assert (fused - plain)[batch - 2 :].abs().amax(dim=(1, 2, 3)).min() > 1e-3


def test_a_batch_of_other_pictures_is_an_error(sd15):
    with (
        expression_fused(sd15, opened(sd15), asked(3)),
        pytest.raises(ValueError, match="of 3 pictures"),
    ):
        call(sd15, inputs_of(sd15, 2, 8, 8))


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("size", [(8, 8), (16, 8), (8, 24), (12, 20)])
def test_any_shape_and_precision(unet, dtype, size):
    unet = unet.to(dtype)
    fusion = opened(unet).to(dtype)
    given = inputs_of(unet, 3, *size)
    told = asked(3, mask=None, words=torch.eye(9)[:3])
    with expression_fused(unet, fusion, told):
        fused = call(unet, given)
    assert fused.dtype == dtype and fused.shape == (3, 4, *size)
    assert fused.isfinite().all()
    assert not torch.equal(fused, call(unet, given))


@torch.no_grad()
def test_each_picture_has_its_own_time_and_expression(sd15):
    given = inputs_of(sd15, 2, 8, 8) | {"timestep": torch.tensor([500, 900])}
    plain = call(sd15, given)
    with expression_fused(sd15, opened(sd15), asked()):
        fused = call(sd15, given)
    assert torch.equal(fused[1], plain[1]) and not torch.equal(fused[0], plain[0])


# Where


@torch.no_grad()
def test_outside_the_mask_the_skip_is_unchanged_and_the_change_is_local(sd15):
    given = inputs_of(sd15, 1, 32, 32)
    mask = torch.zeros(1, 1, 256, 256)
    mask[..., :128, :128] = 1
    plain = call(sd15, given)
    with torch.enable_grad(), expression_fused(sd15, opened(sd15), asked(1, mask=mask)) as made:
        fused = call(sd15, given)
    for one in made:
        half = one.full.shape[2] // 2
        change = (one.fused - one.full).abs()
        assert change[..., half:, :].max() == change[..., half:].max() == 0
        assert change[..., :half, :half].mean() > 0.1 * one.full.abs().mean()
    change = (fused - plain).abs()
    inside = change[..., :16, :16].mean()
    outside = (change.sum() - change[..., :16, :16].sum()) / (0.75 * change.numel())
    assert inside >= 3 * outside


def test_the_mask_reaches_each_level_by_area(sd15):
    mask = torch.zeros(2, 1, 64, 64)
    mask[0, :, :32, :12] = 1
    with expression_fused(sd15, opened(sd15), asked(mask=mask)) as made:
        call(sd15, inputs_of(sd15, 2, 8, 8))
    for one in made:
        side = one.mask.shape[2]
        assert one.mask.shape == (2, 1, side, side)
        assert one.mask.mean().item() == pytest.approx(mask.mean().item(), abs=1e-6)
        assert not one.mask[1].any()
    fine = made[0].mask[0, 0]  # 4 cells of 16 pixels a side
    assert fine.tolist() == [[0.75, 0, 0, 0]] * 2 + [[0.0] * 4] * 2


def test_without_a_mask_it_is_where_the_unet_looks_at_the_words(unet):
    """By the attention computed here from the layers' own queries and keys."""
    words = torch.zeros(2, 9)
    words[0, 2:4] = 1
    words[1, 7] = 1
    told, given = asked(mask=None, words=words), inputs_of(unet, 2, 16, 8)
    with expression_fused(unet, opened(unet), told) as made:
        call(unet, given)
    kept: dict[str, Tensor] = {}
    handles = [
        module.register_forward_hook(lambda _m, _i, output, name=name: kept.update({name: output}))
        for name, module in unet.named_modules()
        if name.startswith("down_blocks") and name.endswith(("attn2.to_q", "attn2.to_k"))
    ]
    other = given | {"encoder_hidden_states": told.states}
    if "added_cond_kwargs" in given:
        other["added_cond_kwargs"] = given["added_cond_kwargs"] | {"text_embeds": told.pooled}
    call(unet, other)
    for handle in handles:
        handle.remove()
    levels = []
    for block, size in ((1, (8, 4)), (2, (4, 2))):
        seen = []
        for name in kept:
            if name.startswith(f"down_blocks.{block}.") and name.endswith("to_q"):
                heads = unet.get_submodule(name.removesuffix(".to_q")).heads
                query, key = (
                    kept[one].unflatten(2, (heads, -1)) for one in (name, name[:-1] + "k")
                )
                scores = torch.einsum("bnhd,blhd->bhnl", query, key) / query.shape[-1] ** 0.5
                looked = scores.softmax(3).mean(1)
                seen.append(torch.einsum("bnl,bl->bn", looked, words / words.sum(1, True)))
        level = torch.stack(seen).mean(0).view(2, 1, *size)
        level = torch.nn.functional.interpolate(level, (8, 4), mode="bilinear")
        levels.append(level / level.mean((2, 3), True))
    level = sum(levels) / 2
    above = (level - level.mean((2, 3), True)).clamp_min(0)
    torch.testing.assert_close(made[0].mask, above / above.amax((2, 3), True))
    assert made[0].mask.amax((1, 2, 3)).tolist() == pytest.approx([1, 1])
    assert 0.1 < (made[0].mask == 0).float().mean() < 0.9


def test_neither_a_mask_nor_words_is_refused(sd15):
    with (
        expression_fused(sd15, opened(sd15), asked(mask=None)),
        pytest.raises(UserError, match="fusion_mask"),
    ):
        call(sd15, inputs_of(sd15, 2, 8, 8))


# Beside the rest


@torch.no_grad()
def test_maps_reach_both_passes(sd15):
    given = inputs_of(sd15, 4, 8, 8)
    features = torch.randn(2, 16, 8, 8, generator=torch.Generator().manual_seed(1))
    added: list[Tensor] = []
    sd15.down_blocks[0].register_forward_pre_hook(
        lambda _m, _i, named: added.append(named["hidden_states"].clone()), with_kwargs=True
    )
    with expression_fused(sd15, opened(sd15), asked()), added_to_conv_in(sd15, features):
        call(sd15, given)
    alone, whole = added
    assert torch.equal(alone, whole[2:])
    torch.testing.assert_close(alone, sd15.conv_in(given["sample"][2:]) + features)


@torch.no_grad()
def test_units_beside_it_cost_one_pass_with_the_expression(sd15):
    units = woken(UnitAttention.beside(sd15, ("AU1", "AU12"), 16))
    keys = units(unit_conditions(("AU1", "AU12"), [{"AU12": 3.0}] * 2))
    given = inputs_of(sd15, 4, 8, 8)
    with units_told(sd15, keys, 4.0, 7.5):
        without = call(sd15, given)
    seen = passes_of(sd15)
    with expression_fused(sd15, opened(sd15), asked()), units_told(sd15, keys, 4.0, 7.5):
        fused = call(sd15, given)
    assert seen == [2, 4, 2]
    torch.testing.assert_close(fused[:2], without[:2])
    assert (fused - without)[2:].abs().max() > 1e-3


@torch.no_grad()
def test_the_next_step_has_a_pass_of_its_own(sd15):
    fusion, told, seen = opened(sd15), asked(), passes_of(sd15)
    with expression_fused(sd15, fusion, told):
        first = call(sd15, inputs_of(sd15, 2, 8, 8, 500))
        call(sd15, inputs_of(sd15, 2, 8, 8, 500))
        later = call(sd15, inputs_of(sd15, 2, 8, 8, 480))
    assert len(seen) == 5
    with expression_fused(sd15, fusion, told):
        assert torch.equal(call(sd15, inputs_of(sd15, 2, 8, 8, 480)), later)
    assert not torch.equal(first, later)


def test_a_unet_that_passes_hooks_by_is_an_error(sd15):
    given = inputs_of(sd15, 2, 8, 8)  # as torch.compile may leave it: no block's hook is called
    sd15.forward = lambda *_args, **_told: (torch.zeros(2, 4, 8, 8),)
    with (
        torch.no_grad(),
        expression_fused(sd15, opened(unet_of(SD15)), asked()),
        pytest.raises(RunError, match="compile"),
    ):
        sd15(**given)


# Training


@pytest.mark.parametrize("autocast", [False, True])
def test_the_gradient_reaches_fusion_and_person_but_no_expression_alone(sd15, autocast):
    add_lora(sd15, 4, ())
    fusion = opened(sd15, gate=0.1)
    for name, weight in sd15.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    given = inputs_of(sd15, 2, 16, 16)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        with expression_fused(sd15, fusion, asked()) as made:
            call(sd15, given).float().square().mean().backward()
    for name, weight in fusion.named_parameters():
        assert weight.grad is not None and weight.grad.any(), name
    for name, weight in sd15.named_parameters():
        if "lora" in name:
            assert weight.grad is not None and weight.grad.any(), name
    assert all(one.fused.requires_grad and one.full.requires_grad for one in made)
    assert not any(one.expression.requires_grad for one in made)


def test_outside_the_window_every_weight_still_gets_a_gradient_of_zero(sd15):
    fusion = opened(sd15)
    with expression_fused(sd15, fusion, asked()) as made:
        fused = call(sd15, inputs_of(sd15, 2, 8, 8, 900))
    fused.square().mean().backward()
    assert all(weight.grad is not None and not weight.grad.any() for weight in fusion.parameters())
    assert [one.window.tolist() for one in made] == [[0, 0]] * 4


def test_gradient_checkpointing_changes_nothing(sd15):
    given, grads = inputs_of(sd15, 2, 8, 8), []
    for checkpointing in (False, True):
        sd15.train()
        if checkpointing:
            sd15.enable_gradient_checkpointing()
        fusion = opened(sd15)
        with expression_fused(sd15, fusion, asked()):
            call(sd15, given).square().mean().backward()
        grads.append([weight.grad for weight in fusion.parameters()])
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other)
