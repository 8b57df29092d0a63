"""Loading a base model, and what is said when it is not one."""

from __future__ import annotations

import shutil

import pytest
import torch
from diffusers import StableDiffusionPipeline

from sfe_core.diffusion.loading import load_base
from sfe_core.errors import UserError


def test_text_is_encoded_as_the_pipeline_does(tiny_base):
    base = load_base(tiny_base)
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_base)
    captions = ["happy face", "a very long caption " * 20]
    expected, empty = pipeline.encode_prompt(captions, "cpu", 1, True)
    assert torch.equal(base.encode_text(captions).states, expected)
    assert torch.equal(base.encode_text(["", ""]).states, empty)


def test_factor_and_modes(tiny_base):
    base = load_base(tiny_base)
    assert base.vae_factor == 4
    assert base.unet.dtype == torch.float32 and not base.unet.training


def test_a_folder_that_is_no_pipeline(tmp_path):
    with pytest.raises(UserError, match="is an empty folder"):
        load_base(tmp_path)


def test_a_missing_part_is_named(tiny_base, tmp_path):
    broken = shutil.copytree(tiny_base, tmp_path / "broken")
    shutil.rmtree(broken / "vae")
    with pytest.raises(UserError, match="vae.*AutoencoderKL"):
        load_base(broken)
