"""Units beside the text: nothing told changes nothing, everything told reaches every layer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from torch import Tensor

from sfe_core.diffusion.guidance import GuidanceBank
from sfe_core.diffusion.guided_unet import GuidedUNet
from sfe_core.diffusion.unit_attention import (
    UnitAttention,
    attend_to_units,
    cross_attentions,
    mirrored,
    unit_conditions,
    units_told,
)
from sfe_core.errors import UserError
from sfe_core.network_layout import plain_attention
from sfe_core.training.engine.lora import add_lora, merged
from tests.sfe_core.diffusion.test_guidance import awake as awake_bank
from tests.tiny_workspace import woken

UNITS = ("AU1", "AU4", "AU12")
BOTH = [{"AU1": 2.0, "AU12L": 4.0}, {"AU4_present": 1.0}]


def unet_of(base: Path) -> UNet2DConditionModel:
    return UNet2DConditionModel.from_pretrained(base, subfolder="unet")


@pytest.fixture
def model(tiny_base) -> GuidedUNet:
    unet = unet_of(tiny_base)
    bank = awake_bank(GuidanceBank(("landmarks",), (16, 32, 64), 16))
    return GuidedUNet(unet, bank, units=woken(UnitAttention.beside(unet, UNITS, 16)))


@pytest.fixture
def inputs() -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(2, 4, 8, 8, generator=generator),
        torch.tensor([10, 900]),
        torch.randn(2, 32, 32, generator=generator),
    )


def told(*asked: dict[str, float]) -> Tensor:
    return unit_conditions(UNITS, asked or BOTH)


# What is told


def test_sides_go_before_both_and_the_rest_stays_unknown():
    given = told({"AU12R": 0.0, "AU12": 3.0, "AU4_present": 1.0})[0]
    assert given[2, :2].tolist() == [3.0, 0.0] and given[1, 2] == 1
    assert given.isnan().sum() == 9 - 3
    assert mirrored(given)[2, :2].tolist() == [0.0, 3.0]
    assert torch.equal(mirrored(mirrored(given)).nan_to_num(-1), given.nan_to_num(-1))


@pytest.mark.parametrize("name", ["AU99", "smile", "AU12X", "AU2"])
def test_an_unknown_unit_is_one_line(name):
    with pytest.raises(UserError, match=name):
        told({name: 1.0})


# What it leaves as it is


@torch.no_grad()
def test_nothing_told_is_the_unet_to_the_bit(model, inputs, tiny_base):
    noisy, times, text = inputs
    plain = unet_of(tiny_base)(noisy, times, encoder_hidden_states=text).sample
    assert torch.equal(model(*inputs), plain)
    assert torch.equal(model(*inputs, conditions=told({}, {})), plain)
    silent = {"units": model.units(told(), scale=0)}
    unet = model.unet
    drawn = unet(noisy, times, encoder_hidden_states=text, cross_attention_kwargs=silent).sample
    assert torch.equal(drawn, plain)
    mixed = model(*inputs, conditions=told({}, BOTH[0]))
    assert torch.equal(mixed[0], plain[0]) and (mixed[1] - plain[1]).abs().max() > 1e-3


@torch.no_grad()
def test_an_untrained_one_changes_nothing(tiny_base, inputs):
    unet = unet_of(tiny_base)
    model = GuidedUNet(unet, GuidanceBank((), (16, 32, 64), 16))
    plain = model(*inputs)
    with_units = GuidedUNet(unet, model.bank, units=UnitAttention.beside(unet, UNITS, 16))
    assert torch.equal(with_units(*inputs, conditions=told()), plain)


@pytest.mark.parametrize("plain", [False, True])
def test_the_unet_keeps_its_kernels(tiny_base, inputs, plain):
    """Plain products stay plain, in training on the CPU, and compute the same."""
    unet = unet_of(tiny_base)
    units = woken(UnitAttention.beside(unet, UNITS, 16))
    bank = GuidanceBank((), (16, 32, 64), 16)
    before = GuidedUNet(unet, bank, units=units)(*inputs, conditions=told())
    if plain:
        unet = unet_of(tiny_base)
        plain_attention(unet)
    model = GuidedUNet(unet, bank, units=units)
    attend_to_units(model.unet)  # once more changes nothing
    assert {processor.plainly for processor in unet.attn_processors.values()} == {plain}
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        after = model(*inputs, conditions=told())
        after.square().sum().backward()
    flash = any("flash_attention" in event.key for event in profile.key_averages())
    assert flash != plain
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)


def test_the_unet_keeps_its_names(model, tiny_base):
    assert model.unet.state_dict().keys() == unet_of(tiny_base).state_dict().keys()


# What it does


@torch.no_grad()
def test_value_side_and_presence_each_matter(model, inputs):
    asked = [
        {"AU12": 2.0},
        {"AU12": 3.0},
        {"AU12L": 2.0},
        {"AU12L": 2.0, "AU12R": 0.0},
        {"AU12_present": 1.0},
        {"AU12_present": 0.0},
        {"AU12": 0.0},
        {"AU1": 2.0},
    ]
    drawn = [model(*inputs, conditions=told(one, one)) for one in asked]
    drawn.append(model(*inputs))
    for place, one in enumerate(drawn):
        assert all((one - other).abs().max() > 1e-5 for other in drawn[:place]), place


@torch.no_grad()
def test_units_do_not_compete_and_what_rests_adds_nothing_at_first(tiny_base):
    """What a layer finds of several units is the sum of what it finds of each."""
    unet = unet_of(tiny_base)
    units = UnitAttention.beside(unet, UNITS)
    for value in units.projections.to_v.values():
        torch.nn.init.normal_(value.weight, std=0.3)
    name, layer = next(iter(cross_attentions(unet).items()))
    query = torch.randn(1, layer.heads, 6, layer.to_k.out_features // layer.heads)

    def found(**asked: float) -> torch.Tensor:
        return units(unit_conditions(UNITS, [asked])).found(name, layer.heads, query)

    apart = found(AU1=2.0) + found(AU12L=4.0, AU12R=1.0)
    torch.testing.assert_close(found(AU1=2.0, AU12L=4.0, AU12R=1.0), apart)
    torch.testing.assert_close(found(AU1=2.0, AU4=0.0, AU12=0.0), found(AU1=2.0))
    assert not found(AU4=0.0).any() and found(AU4=1.0).any()


def test_gradients_reach_every_units_token_and_every_layers_keys(model, inputs):
    model.unet.requires_grad_(False)
    model.bank.requires_grad_(False)
    units = model.units
    # A single unit, too: beside the zeros its key matters.
    model(*inputs, conditions=told({"AU12": 3.0}, {"AU12": 1.0})).square().sum().backward()
    assert units.encoder.directions.grad[2].abs().sum() > 0
    assert units.encoder.directions.grad[:2].abs().sum() == 0  # not told of
    for part in (units.projections.to_k, units.projections.to_v):
        assert len(part) == len(cross_attentions(model.unet)) > 2
        assert all(layer.weight.grad.abs().sum() > 0 for layer in part.values())
    units.zero_grad()
    every = {"AU1": 1.0, "AU4": 2.0, "AU12": 3.0}
    model(*inputs, conditions=told(every, every)).square().sum().backward()
    both_sides = [0, 1, 3, 4]  # intensities, and that they are known
    assert (units.encoder.directions.grad[:, both_sides].abs().sum(2) > 0).all()
    frozen = [*model.unet.parameters(), *model.bank.parameters()]
    assert not any(parameter.grad is not None for parameter in frozen)


def test_a_pass_that_tells_nothing_leaves_zero_gradients_not_none(model, inputs):
    """DDP waits for the gradients of all."""
    model(*inputs, conditions=told({}, {})).square().sum().backward()
    grads = [parameter.grad for parameter in model.units.parameters()]
    assert all(grad is not None and not grad.any() for grad in grads)


def test_checkpointed_gradients_are_the_same(model, inputs):
    def gradients() -> list[Tensor]:
        model.zero_grad()
        model(*inputs, conditions=told()).square().sum().backward()
        return [parameter.grad.clone() for parameter in model.units.parameters()]

    model.train()
    plain = gradients()
    model.unet.enable_gradient_checkpointing()
    for one, other in zip(plain, gradients(), strict=True):
        torch.testing.assert_close(one, other)


# Beside other controls


@torch.no_grad()
def test_maps_and_units_act_together(model, inputs):
    maps = {"landmarks": torch.rand(2, 3, 32, 32)}
    both = model(*inputs, maps=maps, conditions=told())
    for one in (model(*inputs, maps=maps), model(*inputs, conditions=told())):
        assert (both - one).abs().max() > 1e-3


def test_a_lora_trains_beside_units(model, inputs):
    add_lora(model.unet, 2, ())
    model(*inputs, conditions=told()).square().sum().backward()
    adapters = [p for name, p in model.unet.named_parameters() if ".lora_B" in name]
    assert adapters and all(p.grad.abs().sum() > 0 for p in adapters)
    with torch.no_grad():
        for adapter in adapters:
            adapter.add_(0.05)
        drawn = model(*inputs, conditions=told())
        whole = GuidedUNet(merged(model.unet), model.bank, units=model.units)
        torch.testing.assert_close(whole(*inputs, conditions=told()), drawn)
    again = UnitAttention.beside(model.unet, UNITS, 16)  # made where a LoRA lies already
    assert again.state_dict().keys() == model.units.state_dict().keys()


def test_saved_and_loaded_it_is_the_same(model, inputs, tmp_path):
    model.units.save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "config.json",
        "diffusion_pytorch_model.safetensors",
    }
    again = UnitAttention.from_pretrained(tmp_path)
    assert again.units == UNITS
    assert again.state_dict().keys() == model.units.state_dict().keys()
    other = GuidedUNet(model.unet, model.bank, units=again)
    with torch.no_grad():
        assert torch.equal(other(*inputs, conditions=told()), model(*inputs, conditions=told()))


# Drawing with diffusers' own pipelines


def draw(pipeline, guidance_scale: float = 3.0, **more) -> Tensor:
    pipeline.set_progress_bar_config(disable=True)
    side = pipeline.unet.config.sample_size * pipeline.vae_scale_factor
    return torch.from_numpy(
        pipeline(
            prompt=["a face", "another"],
            num_inference_steps=2,
            guidance_scale=guidance_scale,
            height=side,
            width=side,
            generator=torch.Generator().manual_seed(1),
            output_type="np",
            **more,
        ).images
    )


PIPELINES = {"tiny_base": StableDiffusionPipeline, "tiny_sdxl": StableDiffusionXLPipeline}


@pytest.mark.parametrize("base", PIPELINES)
@torch.no_grad()
def test_plain_pipelines_draw_by_units(base, request):
    pipeline = PIPELINES[base].from_pretrained(request.getfixturevalue(base))
    units = woken(UnitAttention.beside(pipeline.unet, UNITS, 16))
    plain = draw(pipeline)
    attend_to_units(pipeline.unet)
    assert torch.equal(draw(pipeline), plain)
    keys = units(told())
    given = draw(pipeline, cross_attention_kwargs={"units": keys})
    assert (given - plain).abs().max() > 1e-3
    with units_told(pipeline.unet, keys, 3.0, text_guidance=3.0):
        assert torch.equal(draw(pipeline), given)
    with units_told(pipeline.unet, keys, 0.0, text_guidance=3.0):
        torch.testing.assert_close(draw(pipeline), plain)
    assert torch.equal(draw(pipeline), plain)  # nothing of it stays


@pytest.mark.parametrize("text_guidance", [1.0, 4.0])
@torch.no_grad()
def test_units_have_a_guidance_scale_of_their_own(model, inputs, text_guidance):
    noisy, _, text = inputs
    empty, time = torch.zeros_like(text), torch.tensor(500)
    keys = model.units(told())

    def predict(states: Tensor, **more) -> Tensor:
        return model.unet(noisy, time, encoder_hidden_states=states, **more).sample

    nothing, words = predict(empty), predict(text)
    steered = predict(text, cross_attention_kwargs={"units": keys})
    wanted = nothing + text_guidance * (words - nothing) + 2.5 * (steered - words)
    with units_told(model.unet, keys, 2.5, text_guidance):
        if text_guidance > 1:
            pair = model.unet(
                torch.cat([noisy, noisy]), time, encoder_hidden_states=torch.cat([empty, text])
            ).sample
            first, second = pair.chunk(2)
            drawn = first + text_guidance * (second - first)
        else:
            drawn = predict(text)
    torch.testing.assert_close(drawn, wanted, rtol=1e-4, atol=1e-5)


def test_units_of_another_number_of_pictures_are_refused(model, inputs):
    with pytest.raises(ValueError, match="units of 3 pictures"):
        model(*inputs, conditions=told({}, {}, {}))
