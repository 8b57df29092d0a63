"""Drawing with fusion: a pipeline of either family, against diffusers' own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from PIL import Image

from sfe_core.diffusion.expression_embeddings import ExpressionEmbeddings
from sfe_core.diffusion.expression_fusion import ExpressionFusion
from sfe_core.diffusion.fused_passes import word_tokens
from sfe_core.diffusion.guidance import GuidanceBank
from sfe_core.diffusion.pipeline import (
    GuidedPipeline,
    GuidedStableDiffusionPipeline,
    GuidedStableDiffusionXLPipeline,
)
from sfe_core.diffusion.unit_attention import UnitAttention
from sfe_core.errors import UserError
from tests.fusion_unets import SD15, unet_of
from tests.sfe_core.diffusion.test_guidance import awake
from tests.sfe_core.diffusion.test_pipeline import draw
from tests.tiny_workspace import woken

EXPRESSION = {"expression_prompt": "face, happy"}
STEPS = 6  # two of them in the window
GATE = 8.0  # so wide that untrained networks show it


@pytest.fixture(scope="module", params=["sd15", "sdxl"])
def plain(request, tiny_base, tiny_sdxl) -> Any:
    if request.param == "sd15":
        made = StableDiffusionPipeline.from_pretrained(tiny_base)
    else:
        made = StableDiffusionXLPipeline.from_pretrained(tiny_sdxl, add_watermarker=False)
    made.set_progress_bar_config(disable=True)
    return made


def beside(plain: Any, **parts: Any) -> GuidedPipeline:
    """The same pipeline with fusion, its gates open; `parts` are others of the project's."""
    xl = isinstance(plain, StableDiffusionXLPipeline)
    kind = GuidedStableDiffusionXLPipeline if xl else GuidedStableDiffusionPipeline
    own = {"safety_checker": None} if not xl else {}
    torch.manual_seed(0)
    parts.setdefault("fusion", ExpressionFusion.beside(plain.unet, rank=8, gate=GATE))
    made = kind(**plain.components | own, **parts)
    made.set_progress_bar_config(disable=True)
    return made


@pytest.fixture(scope="module")
def fusing(plain) -> GuidedPipeline:
    return beside(plain)


def pictures(pipeline: Any, **options: Any) -> torch.Tensor:
    return draw(pipeline, **{"num_inference_steps": STEPS, **options})


def test_closed_gates_an_empty_window_and_strength_0_draw_as_diffusers_does(plain, fusing):
    expected = pictures(plain)
    assert torch.equal(pictures(fusing), expected)
    assert torch.equal(pictures(fusing, **EXPRESSION, fusion_strength=0.0), expected)
    for closed in ({"gate": 0.0}, {"window": (0.6, 0.6)}):
        options = {"rank": 8, "gate": GATE, **closed}
        pipeline = beside(plain, fusion=ExpressionFusion.beside(plain.unet, **options))
        assert torch.equal(pictures(pipeline, **EXPRESSION), expected), closed


def test_it_changes_the_picture_and_leaves_no_trace(plain, fusing):
    expected = pictures(plain)
    fused = pictures(fusing, **EXPRESSION)
    assert (fused - expected).abs().amax(dim=(1, 2, 3)).min() > 1e-3
    assert torch.equal(pictures(fusing, **EXPRESSION), fused)
    assert torch.equal(pictures(fusing), expected)
    half = pictures(fusing, **EXPRESSION, fusion_strength=0.5)
    assert 0 < (half - expected).abs().mean() < (fused - expected).abs().mean()


def test_the_expressions_pass_runs_in_the_window_alone(fusing):
    batches = []
    handle = fusing.unet.conv_in.register_forward_hook(
        lambda _m, inputs, _o: batches.append(len(inputs[0]))
    )
    pictures(fusing, **EXPRESSION, num_inference_steps=10)
    handle.remove()
    inside = (fusing.fusion.window(fusing.scheduler.timesteps) > 0).sum().item()
    assert 3 <= inside <= 4
    assert batches.count(4) == 10 and batches.count(2) == inside


def test_another_expression_or_word_is_another_picture(fusing):
    happy = pictures(fusing, **EXPRESSION)
    assert not torch.equal(pictures(fusing, expression_prompt="face, sad"), happy)
    other = pictures(fusing, **EXPRESSION, expression_word="face")
    assert not torch.equal(other, happy)
    several = pictures(fusing, expression_prompt=["face, happy", "face, sad"])
    torch.testing.assert_close(several[0], happy[0], atol=1e-4, rtol=0)
    assert not torch.equal(several[1], happy[1])


def test_the_mask_says_where(plain, fusing):
    expected = pictures(plain)
    nowhere = torch.zeros(1, 1, 32, 32)
    assert torch.equal(pictures(fusing, **EXPRESSION, fusion_mask=nowhere), expected)
    masks = torch.stack([torch.zeros(1, 32, 32), torch.ones(1, 32, 32)])
    second = pictures(fusing, **EXPRESSION, fusion_mask=masks)
    torch.testing.assert_close(second[0], expected[0], atol=1e-5, rtol=0)
    assert (second[1] - expected[1]).abs().max() > 1e-3
    white = Image.new("L", (64, 48), 255)
    whole = pictures(fusing, **EXPRESSION, fusion_mask=torch.ones(1, 1, 8, 8))
    assert torch.equal(pictures(fusing, **EXPRESSION, fusion_mask=white), whole)


def test_without_classifier_free_guidance_too(plain, fusing):
    expected = pictures(plain, guidance_scale=1.0)
    fused = pictures(fusing, **EXPRESSION, guidance_scale=1.0)
    assert (fused - expected).abs().amax(dim=(1, 2, 3)).min() > 1e-3


def test_it_stands_beside_maps_units_and_expressions(plain):
    width = plain.unet.config.cross_attention_dim
    bank = awake(GuidanceBank(("depth",), (16, 32, 64), plain.unet.config.block_out_channels[0]))
    units = woken(UnitAttention.beside(plain.unet, ("AU1", "AU12"), 16))
    pooled = 40 if isinstance(plain, StableDiffusionXLPipeline) else 0
    expressions = ExpressionEmbeddings(width=width, pooled_width=pooled)
    with torch.no_grad():
        expressions.states.normal_(generator=torch.Generator().manual_seed(2))
    parts = {"guidance_encoder": bank, "action_units": units, "expressions": expressions}
    pipeline = beside(plain, **parts)
    told = {
        "guidance_images": {"depth": torch.rand(2, 3, 32, 32)},
        "action_units": {"AU12": 3.0},
        "expressions": [{"happy": 1.0}, {"sad": 0.5}],
        "expression_guidance_scale": 3.0,
    }
    batches = []
    handle = pipeline.unet.conv_in.register_forward_hook(
        lambda _m, inputs, _o: batches.append(len(inputs[0]))
    )
    without = pictures(pipeline, **told)
    before, batches[:] = len(batches), []
    fused = pictures(pipeline, **told, expression_prompt="face")
    handle.remove()
    inside = (pipeline.fusion.window(pipeline.scheduler.timesteps) > 0).sum().item()
    assert len(batches) == before + inside  # one pass a step, however often the UNet is called
    assert (fused - without).abs().amax(dim=(1, 2, 3)).min() > 1e-3
    none = pictures(pipeline, **told, expression_prompt="face", fusion_strength=0)
    assert torch.equal(none, without)


def test_a_folder_holds_it_and_plain_diffusers_does_not_mind(plain, fusing, tmp_path):
    fusing.save_pretrained(tmp_path)
    assert (tmp_path / "fusion" / "config.json").is_file()
    read = type(fusing).from_pretrained(tmp_path)
    assert torch.equal(pictures(read, **EXPRESSION), pictures(fusing, **EXPRESSION))
    assert torch.equal(pictures(type(plain).from_pretrained(tmp_path)), pictures(plain))


def test_what_cannot_be_is_refused(plain, fusing):
    with pytest.raises(UserError, match="has no fusion/"):
        pictures(beside(plain, fusion=None), **EXPRESSION)
    with pytest.raises(UserError, match="none of the words neutral, happy"):
        pictures(fusing, expression_prompt="a face")
    with pytest.raises(UserError, match=r"shape \[2, 3, 8, 8\]"):
        pictures(fusing, **EXPRESSION, fusion_mask=torch.ones(2, 3, 8, 8))
    with pytest.raises(UserError, match="of 3 pictures, and 2 are drawn"):
        pictures(fusing, expression_prompt=["happy"] * 3)
    with pytest.raises(UserError, match="other skips"):
        beside(plain, fusion=ExpressionFusion.beside(unet_of(SD15)))


def test_words_are_found_where_the_tokenizer_puts_them(plain):
    tokenizer = plain.tokenizer
    found = word_tokens(tokenizer, ["a happy face", "sad, a sad face"], ["happy", "sad"])
    assert found.shape == (2, tokenizer.model_max_length)
    for row, prompt, word, times in (
        (0, "a happy face", "happy", 1),
        (1, "sad, a sad face", "sad", 2),
    ):
        tokens = torch.tensor(tokenizer(prompt, padding="max_length").input_ids)
        named = tokens[found[row].bool()].tolist()
        assert named == times * tokenizer(word, add_special_tokens=False).input_ids
