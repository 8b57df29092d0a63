"""Expressions behind the text: neutral at 0, a line through each; told none, it is the base."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from sfe_core.diffusion.base_expressions import begin_expressions, find_expressions, text_widths
from sfe_core.diffusion.encoders import Encoders
from sfe_core.diffusion.expression_embeddings import (
    ExpressionEmbeddings,
    ExpressiveUNet,
    expression_weights,
    expressions_told,
    load_embeddings,
)
from sfe_core.diffusion.guidance import GuidanceBank
from sfe_core.diffusion.loading import read_configs
from sfe_core.diffusion.pipeline import (
    GuidedStableDiffusionPipeline,
    GuidedStableDiffusionXLPipeline,
)
from sfe_core.diffusion.unit_attention import UnitAttention
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError
from tests.tiny_workspace import woken

NAMES = ("neutral", "happy", "sad")
PLAIN = {"tiny_base": StableDiffusionPipeline, "tiny_sdxl": StableDiffusionXLPipeline}
GUIDED = {
    "tiny_base": GuidedStableDiffusionPipeline,
    "tiny_sdxl": GuidedStableDiffusionXLPipeline,
}


def begun(base: Path, names: tuple[str, ...] = NAMES) -> ExpressionEmbeddings:
    """As training leaves them: off their words."""
    made = begin_expressions(Encoders(base), read_configs(base), names, told=("mine", "ab" * 32))
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter))
    return made


def told(*asked: dict[str, float]) -> Tensor:
    return expression_weights(NAMES, asked)


@pytest.fixture(params=PLAIN)
def base(request) -> Path:
    return request.getfixturevalue(request.param)


@pytest.fixture
def expressions(base: Path) -> ExpressionEmbeddings:
    return begun(base)


def draw(pipeline, prompts="a face", seeds=(1,), **more) -> np.ndarray:
    pipeline.set_progress_bar_config(disable=True)
    options = {"height": 32, "width": 32, "num_inference_steps": 2, "guidance_scale": 3.0} | more
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return pipeline(prompts, generator=generators, output_type="np", **options).images


# What stands behind a text


def test_it_stands_behind_the_text_and_is_neutral_at_zero(base, expressions):
    width, pooled_width = text_widths(read_configs(base))
    text, pooled = torch.randn(2, 77, width), torch.randn(2, pooled_width or 5)
    states, more = expressions.appended(text, told({}, {"neutral": 1.0}), pooled)
    assert states.shape == (2, 81, width) and torch.equal(states[:, :77], text)
    assert torch.equal(states[:, 77:], expressions.told_states[:1].expand(2, -1, -1))
    assert torch.equal(more, pooled)
    assert expressions.states.shape == (3, 4, width)
    assert (expressions.pooled is None) == (pooled_width == 0)
    assert expressions.appended(text, told({}, {}))[1] is None


def test_strength_is_a_line_and_mixtures_are_sums(base, expressions):
    found = expressions(told({"happy": 1.0}, {"happy": 1.5}, {"happy": 0.6, "sad": 0.4}))
    neutral, happy, sad = expressions.told_states
    assert torch.allclose(found.states[0], happy, atol=1e-6)
    assert torch.allclose(found.states[1], neutral + 1.5 * (happy - neutral), atol=1e-6)
    mixed = neutral + 0.6 * (happy - neutral) + 0.4 * (sad - neutral)
    assert torch.allclose(found.states[2], mixed, atol=1e-6)
    if found.pooled is not None:
        first, second, _ = expressions.pooled
        assert torch.allclose(found.pooled[1], 1.5 * (second - first), atol=1e-6)


def test_a_vector_is_told_no_longer_than_those_of_texts(base):
    made = begin_expressions(Encoders(base), read_configs(base), NAMES)
    longest = made.config["longest"]
    assert torch.allclose(made.told_states, made.states, atol=1e-5)
    with torch.no_grad():
        made.states.mul_(100)
    neutral = made(told({})).states
    assert torch.allclose(neutral.norm(dim=2), torch.tensor(longest), rtol=1e-4)
    assert torch.nn.functional.cosine_similarity(neutral[0], made.states[0]).min() > 0.999


def test_it_begins_from_its_words(base):
    encoders = Encoders(base)
    made = begin_expressions(encoders, read_configs(base), NAMES, vectors=2)
    texts = encoders.texts(["happy smiling joyful laughing"])
    assert torch.allclose(made.states[1], texts.states[0, 1:3], atol=1e-5)
    if texts.pooled is not None:
        assert torch.allclose(made.pooled[1], texts.pooled[0], atol=1e-5)


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ({"smile": 1.0}, "'smile' is not known; known: neutral, happy, sad"),
        ({"happy": 1.6}, "happy: 1.6; give 0 to 1.5"),
        ({"happy": -0.1}, "happy: -0.1"),
        ({"happy": float("nan")}, "happy: nan"),
    ],
)
def test_what_cannot_be_told_is_one_line(asked, problem):
    with pytest.raises(UserError, match=problem):
        told(asked)


def test_without_neutral_there_is_none():
    with pytest.raises(UserError, match="neutral among them"):
        ExpressionEmbeddings(("happy",), width=8)


# Files


def test_saved_it_comes_back_and_says_of_which_base(expressions, tmp_path):
    expressions.save_pretrained(tmp_path)
    again = load_embeddings(tmp_path)
    assert (again.names, again.config["base"], again.config["base_sha256"][:2]) == (
        NAMES,
        "mine",
        "ab",
    )
    state = again.state_dict()
    assert all(torch.equal(state[name], part) for name, part in expressions.state_dict().items())


def test_a_file_that_does_not_fit_is_refused(expressions, tmp_path):
    def spoil(name: str, change) -> Path:
        folder = tmp_path / name
        expressions.save_pretrained(folder)
        path = folder / "diffusion_pytorch_model.safetensors"
        save_file(change(load_file(path)), path)
        return folder

    cases = {
        "no states": lambda state: {"other": state["states"]},
        "unknown more": lambda state: state | {"more": torch.zeros(1)},
        "states is": lambda state: state | {"states": state["states"][:2].contiguous()},
    }
    for problem, change in cases.items():
        with pytest.raises(UserError, match=problem):
            load_embeddings(spoil(problem, change))
    with pytest.raises(UserError, match="no expressions that can be read"):
        load_embeddings(tmp_path / "nowhere")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text(json.dumps({"_class_name": "VAE"}))
    with pytest.raises(UserError, match=r"config.json is of VAE"):
        load_embeddings(tmp_path / "other")


def test_it_is_found_for_a_base_and_refused_for_another(tiny_base, tiny_sdxl, tmp_path):
    begun(tiny_base).save_pretrained(tmp_path / "package" / "expressions")
    for place in (tmp_path / "package", tmp_path / "package" / "expressions"):
        assert find_expressions(str(place), tiny_base, "expressions").names == NAMES
    with pytest.raises(
        UserError, match="personal.expressions: is for texts 32 wide .learnt on mine"
    ):
        find_expressions(str(tmp_path / "package"), tiny_sdxl, "personal.expressions")
    with pytest.raises(UserError, match="no such asset"):
        find_expressions("no-such", tiny_base, "personal.expressions")


# Training


def test_only_the_vectors_that_are_told_get_a_gradient(tiny_base):
    unet = UNet2DConditionModel.from_pretrained(tiny_base, subfolder="unet")
    model = ExpressiveUNet(unet, GuidanceBank((), (16, 32, 64), 16), expressions=begun(tiny_base))
    unet.requires_grad_(False)
    inputs = torch.randn(2, 4, 8, 8), torch.tensor([10, 900]), torch.randn(2, 32, 32)
    model(*inputs, conditions=told({"happy": 1.0}, {})).square().sum().backward()
    gradient = model.expressions.states.grad
    assert gradient[0].abs().sum() > 0 and gradient[1].abs().sum() > 0
    assert gradient[2].abs().sum() == 0  # sad was not told
    assert all(parameter.grad is None for parameter in unet.parameters())
    with torch.no_grad():
        plain = unet(*inputs[:2], encoder_hidden_states=inputs[2]).sample
        assert torch.equal(model(*inputs), plain)


# Drawing


@pytest.mark.parametrize("kind", PLAIN)
def test_without_expressions_the_base_is_drawn_to_the_bit(kind, request):
    folder = request.getfixturevalue(kind)
    pipeline = GUIDED[kind].from_pretrained(folder, expressions=begun(folder))
    plain = draw(PLAIN[kind].from_pretrained(folder))
    assert np.array_equal(draw(pipeline), plain)
    neutral, happy = (draw(pipeline, expressions=asked) for asked in ({}, {"happy": 1.0}))
    assert np.abs(neutral - plain).max() > 1e-3 < np.abs(happy - neutral).max()
    assert np.array_equal(draw(pipeline), plain)  # nothing of it stays


@pytest.mark.parametrize("kind", PLAIN)
def test_expression_has_a_scale_of_its_own(kind, request):
    folder = request.getfixturevalue(kind)
    pipeline = GUIDED[kind].from_pretrained(folder, expressions=begun(folder))

    def at(scale: float | None, strength: float = 1.0, text: float = 3.0) -> np.ndarray:
        return draw(
            pipeline,
            expressions={"happy": strength},
            expression_guidance_scale=scale,
            guidance_scale=text,
        )

    neutral = draw(pipeline, expressions={})
    assert at(None) == pytest.approx(at(3.0), abs=1e-5)
    assert at(0.0) == pytest.approx(neutral, abs=1e-5)
    assert at(6.0, 0.0) == pytest.approx(neutral, abs=1e-5)
    assert np.abs(at(6.0) - at(3.0)).max() > 1e-3
    # Without a pair the scale is of the expression alone.
    assert at(1.0, text=1.0) == pytest.approx(at(None, text=1.0), abs=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("guidance", [None, 5.0])
def test_the_formula_of_two_scales(tiny_base, guidance):
    """Against the four predictions of Brooks et al.'s equation, one by one."""
    unet = UNet2DConditionModel.from_pretrained(tiny_base, subfolder="unet")
    expressions, text_scale = begun(tiny_base), 2.0
    sample, time = torch.randn(1, 4, 8, 8), torch.tensor(500)
    empty, text = torch.randn(2, 1, 32, 32)

    def predict(states: Tensor, weights: Tensor) -> Tensor:
        return unet(sample, time, expressions.appended(states, weights)[0]).sample

    nothing, plain = (predict(states, told({})) for states in (empty, text))
    happy = predict(text, told({"happy": 0.7}))
    scale = text_scale if guidance is None else guidance
    wanted = nothing + text_scale * (plain - nothing) + scale * (happy - plain)
    states = (expressions(told({"happy": 0.7})), expressions(told({})))
    with expressions_told(unet, *states, guidance, text_scale):
        pair = unet(
            torch.cat([sample] * 2), time, encoder_hidden_states=torch.cat([empty, text])
        ).sample
    got = pair[:1] + text_scale * (pair[1:] - pair[:1])
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)
    with expressions_told(unet, *states), pytest.raises(ValueError, match="1 pictures"):
        unet(torch.cat([sample] * 3), time, encoder_hidden_states=torch.cat([text] * 3))


def test_each_picture_has_its_own(tiny_base):
    pipeline = GuidedStableDiffusionPipeline.from_pretrained(
        tiny_base, expressions=begun(tiny_base)
    )
    asked = [{"happy": 1.0}, {"sad": 0.5, "happy": 0.2}]
    together = draw(pipeline, ["a face"] * 2, (1, 2), expressions=asked)
    for place, one in enumerate(asked):
        alone = draw(pipeline, seeds=(place + 1,), expressions=one)
        assert together[place] == pytest.approx(alone[0], abs=1e-5)
    assert np.array_equal(
        draw(pipeline, ["a face"] * 2, (1, 2), expressions=told(*asked)), together
    )
    with pytest.raises(UserError, match="expressions: are told of 2 pictures, and 3 are drawn"):
        draw(pipeline, ["a face"] * 3, (1, 2, 3), expressions=asked)
    plain = GuidedStableDiffusionPipeline.from_pretrained(tiny_base)
    with pytest.raises(UserError, match="has no expressions/"):
        draw(plain, expressions={"happy": 1.0})


def test_it_acts_beside_units_and_maps(tiny_base):
    bank = GuidanceBank(("depth",), (16, 32, 64), 16)
    torch.nn.init.normal_(bank.encoders["depth"].conv_out.weight, std=0.5)
    unet = UNet2DConditionModel.from_pretrained(tiny_base, subfolder="unet")
    pipeline = GuidedStableDiffusionPipeline.from_pretrained(
        tiny_base,
        expressions=begun(tiny_base),
        action_units=woken(UnitAttention.beside(unet, ("AU12",), 16)),
        guidance_encoder=bank,
    )
    everything = {
        "expressions": {"happy": 1.0},
        "expression_guidance_scale": 5.0,
        "action_units": {"AU12": 3.0},
        "guidance_images": {"depth": torch.rand(1, 3, 32, 32)},
    }
    drawn = draw(pipeline, **everything)
    for name in ("expressions", "action_units", "guidance_images", "expression_guidance_scale"):
        without = {key: value for key, value in everything.items() if key != name}
        assert np.abs(drawn - draw(pipeline, **without)).max() > 1e-4, name
    # Units at 0 leave what expressions draw.
    silent = draw(pipeline, **everything | {"units_guidance_scale": 0.0})
    without = {key: value for key, value in everything.items() if key != "action_units"}
    assert silent == pytest.approx(draw(pipeline, **without), abs=1e-5)


def test_a_pipeline_is_saved_with_them_and_refuses_those_of_another_base(
    tiny_base, tiny_sdxl, tmp_path
):
    own = begun(tiny_base, EMOTIONS)
    pipeline = GuidedStableDiffusionPipeline.from_pretrained(tiny_base, expressions=own)
    pipeline.save_pretrained(tmp_path / "saved")
    again = GuidedStableDiffusionPipeline.from_pretrained(tmp_path / "saved")
    asked = {"expressions": {"anger": 1.2}}
    assert np.array_equal(draw(again, **asked), draw(pipeline, **asked))
    assert "expressions" not in json.loads((tmp_path / "saved/model_index.json").read_text())
    StableDiffusionPipeline.from_pretrained(tmp_path / "saved")
    with pytest.raises(UserError, match="expressions: is for texts 32 wide"):
        GuidedStableDiffusionXLPipeline.from_pretrained(tiny_sdxl, expressions=own)
