"""The guided SDXL pipeline against diffusers' own."""

from __future__ import annotations

import pytest
import torch
from diffusers import StableDiffusionXLPipeline

from sfe_core.diffusion.guidance import GuidanceBank
from sfe_core.diffusion.pipeline import GuidedStableDiffusionXLPipeline
from tests.sfe_core.diffusion.test_guidance import awake
from tests.sfe_core.diffusion.test_pipeline import draw


@pytest.fixture(scope="module")
def folder(tiny_sdxl, tmp_path_factory):
    """A guided SDXL on disk, its bank off zero."""
    target = tmp_path_factory.mktemp("guided_sdxl")
    plain = StableDiffusionXLPipeline.from_pretrained(tiny_sdxl, add_watermarker=False)
    bank = awake(GuidanceBank(("landmarks", "depth"), (16, 32, 64), 16))
    guided = GuidedStableDiffusionXLPipeline(**plain.components, guidance_encoder=bank)
    guided.save_pretrained(target)
    return target


@pytest.fixture(scope="module")
def guided(folder) -> GuidedStableDiffusionXLPipeline:
    pipeline = GuidedStableDiffusionXLPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture
def depth() -> torch.Tensor:
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(9))


def test_plain_diffusers_loads_the_folder_and_draws_the_same_without_maps(folder, guided, depth):
    plain = StableDiffusionXLPipeline.from_pretrained(folder, add_watermarker=False)
    expected = draw(plain)
    assert torch.equal(draw(guided), expected)
    off = {"guidance_images": {"depth": depth}, "guidance_strengths": {"depth": 0.0}}
    assert torch.equal(draw(guided, **off), expected)


def test_maps_change_the_picture_and_leave_no_trace(guided, depth):
    before = draw(guided)
    assert (draw(guided, guidance_images={"depth": depth}) - before).abs().max() > 0.01
    assert torch.equal(draw(guided), before)


def test_the_half_without_a_prompt_is_not_guided_and_knows_nothing_of_it(guided, depth):
    seen = []
    handle = guided.unet.down_blocks[0].register_forward_pre_hook(
        lambda module, arguments, named: seen.append(named["hidden_states"]), with_kwargs=True
    )
    try:
        draw(guided, num_inference_steps=1)
        draw(guided, num_inference_steps=1, guidance_images={"depth": depth})
    finally:
        handle.remove()
    (plain, conditional), (unconditional, led) = (one.chunk(2) for one in seen)
    assert torch.equal(unconditional, plain)
    assert not torch.equal(led, conditional)
