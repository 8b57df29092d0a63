"""A package with fusion is loaded strictly and drawn with before it counts as made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from sfe_core.diffusion.expression_fusion import ExpressionFusion
from sfe_core.diffusion.pipeline import GuidedStableDiffusionPipeline
from sfe_core.errors import RunError
from sfe_core.packaging.listing import has_fusion
from sfe_core.packaging.trial import TrialOrder, try_guided, try_plain


@pytest.fixture
def package(tiny_base, tmp_path) -> Path:
    plain = StableDiffusionPipeline.from_pretrained(tiny_base)
    fusion = ExpressionFusion.beside(plain.unet, rank=8, gate=40.0)
    GuidedStableDiffusionPipeline(**plain.components, fusion=fusion).save_pretrained(tmp_path)
    return tmp_path


def order(prompt: str) -> TrialOrder:
    return TrialOrder("it", "sks face, happy", {}, {}, 32, 6, 7.5, 0, expression_prompt=prompt)


def test_it_is_drawn_with(package):
    assert has_fusion(package)
    plain, fused = (
        try_plain(package, order("face, happy")),
        try_guided(package, order("face, happy")),
    )
    assert plain.tobytes() != fused.tobytes()
    assert try_guided(package, replace(order("face, happy"), expression_prompt="")) == plain


def test_a_torn_one_is_no_package(package):
    (path,) = (package / "fusion").glob("*.safetensors")
    state = load_file(path)
    name = next(name for name in state if name.endswith("gate"))
    del state[name]
    save_file(state, path, {"format": "pt"})
    with pytest.raises(RunError, match="gate"):
        try_guided(package, order("face, happy"))
