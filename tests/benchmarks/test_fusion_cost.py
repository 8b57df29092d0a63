"""What fusion costs beside the same pipeline without: aim, at most × 1.3 at 25 steps."""

from __future__ import annotations

import pytest
import torch
from diffusers import StableDiffusionPipeline

from sfe_core.config.model import Config
from sfe_core.diffusion.expression_fusion import ExpressionFusion
from sfe_core.diffusion.pipeline import GuidedStableDiffusionPipeline
from tests.benchmarks.measure import compare
from tests.benchmarks.results import record

pytestmark = pytest.mark.benchmark
STEPS, BATCH = 25, 2


def test_sampling_with_fusion(settings: Config):
    plain = StableDiffusionPipeline.from_pretrained(settings.model.base)
    fusion = ExpressionFusion.beside(plain.unet, gate=0.1)
    pipeline = GuidedStableDiffusionPipeline(**plain.components, fusion=fusion)
    pipeline.set_progress_bar_config(disable=True)
    side = settings.model.resolution

    def draw(**fused: str) -> int:
        generators = [torch.Generator().manual_seed(seed) for seed in range(BATCH)]
        drawn = pipeline(
            ["photo of sks woman, happy"] * BATCH,
            height=side,
            width=side,
            num_inference_steps=STEPS,
            generator=generators,
            output_type="pt",
            **fused,
        )
        return len(drawn.images)

    found = compare(
        f"fusion, {side} px, {STEPS} steps",
        "pictures",
        lambda: draw(expression_prompt="photo of a woman, happy"),
        draw,
    )
    record("fusion_cost", {"overhead": found.overhead}, side, BATCH)
