"""Bases are recognised by their configurations, and read texts as diffusers' pipelines do."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from diffusers import StableDiffusionXLPipeline

from sfe_core.diffusion.encoders import Encoders
from sfe_core.diffusion.families.clip_text import tokenize
from sfe_core.diffusion.families.known import family_of, known_families
from sfe_core.diffusion.loading import load_base, read_configs
from sfe_core.errors import UserError

CAPTIONS = ["happy face", "a very long caption " * 20, ""]


def test_every_base_is_of_one_family(tiny_base, tiny_sdxl):
    for folder, name in ((tiny_base, "Stable Diffusion 1.5"), (tiny_sdxl, "Stable Diffusion XL")):
        configs = read_configs(folder)
        assert [one.name for one in known_families() if one.recognises(configs)] == [name]
        assert family_of(configs).name == name


def test_a_base_of_no_family_is_named(tiny_base, tmp_path):
    other = shutil.copytree(tiny_base, tmp_path / "other")
    index = json.loads((other / "model_index.json").read_text())
    index |= {"_class_name": "OddPipeline", "text_encoder_2": ["transformers", "T5EncoderModel"]}
    (other / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match="is OddPipeline.*known: .*Stable Diffusion XL"):
        load_base(other)


def test_sdxl_encodes_texts_as_its_pipeline(tiny_sdxl):
    pipeline = StableDiffusionXLPipeline.from_pretrained(tiny_sdxl)
    states, _, pooled, _ = pipeline.encode_prompt(CAPTIONS, device="cpu")
    base = load_base(tiny_sdxl)
    for texts in (
        base.encode_text(CAPTIONS),
        load_base(tiny_sdxl, encoders=False).encode_text(CAPTIONS),
        Encoders(tiny_sdxl).texts(CAPTIONS),
    ):
        assert torch.equal(texts.states, states) and torch.equal(texts.pooled, pooled)
    assert states.shape[-1] == 80 and pooled.shape[-1] == 40


def test_tokens_carry_the_gradient_to_both_encoders(tiny_sdxl):
    base = load_base(tiny_sdxl)
    tokens = tokenize(list(base.tokenizers.values()), CAPTIONS)
    assert torch.equal(tokens, Encoders(tiny_sdxl, tokens=True).texts(CAPTIONS).states)
    encoders = list(base.text_encoders.values())
    texts = base.family.encode_tokens(encoders, tokens)
    assert torch.equal(texts.states, base.encode_text(CAPTIONS).states)
    (texts.states.sum() + texts.pooled.sum()).backward()
    for network in encoders:
        assert any(p.grad is not None and p.grad.any() for p in network.parameters())


def test_the_unet_takes_what_the_family_gives(tiny_base, tiny_sdxl):
    time_ids = torch.tensor([[40.0, 50, 1, 2, 32, 32]]).expand(3, -1)
    for folder, told in ((tiny_base, None), (tiny_sdxl, time_ids)):
        base = load_base(folder)
        texts = base.encode_text(CAPTIONS)
        arguments = base.family.conditions(texts, told)
        noisy, steps = torch.randn(3, 4, 8, 8), torch.tensor([1, 500, 999])
        drawn = base.unet(noisy, steps, **arguments).sample
        assert drawn.shape == noisy.shape
    other = base.family.conditions(texts, time_ids + 7)
    assert not torch.equal(base.unet(noisy, steps, **other).sample, drawn)
