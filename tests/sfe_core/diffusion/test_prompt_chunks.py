"""Prompts in chunks and with weights, against what diffusers encodes."""

from __future__ import annotations

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

from sfe_core.diffusion.families.sd15 import FAMILY
from sfe_core.diffusion.families.sdxl import FAMILY as SDXL
from sfe_core.diffusion.prompt_chunks import deal_out, encode_chunks, encode_pairs
from sfe_core.diffusion.prompt_marks import PromptRules

LONG, WEIGHED = PromptRules(chunks=True), PromptRules(weights=True)
BOTH = PromptRules(chunks=True, weights=True)


@pytest.fixture(scope="module")
def pipeline(tiny_base) -> StableDiffusionPipeline:
    """Its text encoder reads 30 letters and two marks."""
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_base)
    torch.manual_seed(0)  # a mean other than 0, as trained encoders have
    torch.nn.init.normal_(pipeline.text_encoder.final_layer_norm.bias, 0.3, 0.2)
    return pipeline


def states(pipeline, text: str, rules: PromptRules) -> torch.Tensor:
    chunks = deal_out(pipeline.tokenizer, text, rules)
    return encode_chunks(FAMILY, [pipeline.tokenizer], [pipeline.text_encoder], chunks).states


def by_diffusers(pipeline, text: str) -> torch.Tensor:
    with torch.no_grad():
        return pipeline.encode_prompt(text, "cpu", 1, False)[0]


def words(pipeline, text: str, rules: PromptRules) -> list[str]:
    names = pipeline.tokenizer.convert_ids_to_tokens
    chunks = deal_out(pipeline.tokenizer, text, rules)
    return ["".join(names([token for token, _ in chunk])) for chunk in chunks]


@pytest.mark.parametrize("rules", [PromptRules(), LONG, WEIGHED, BOTH])
@pytest.mark.parametrize("text", ["", "happy, a face", "x" * 30])
def test_what_fits_and_has_no_weights_is_encoded_as_ever(pipeline, text: str, rules: PromptRules):
    assert torch.equal(states(pipeline, text, rules), by_diffusers(pipeline, text))


def test_chunks_are_encoded_one_by_one_and_stand_one_behind_the_other(pipeline):
    text = "abcdefghij" * 7
    spaced = " ".join(text)
    expected = [by_diffusers(pipeline, " ".join(text[at : at + 30])) for at in (0, 30, 60)]
    found = states(pipeline, spaced, LONG)
    assert found.shape == (1, 96, 32)
    assert torch.allclose(found, torch.cat(expected, dim=1), atol=1e-5)
    assert torch.equal(states(pipeline, spaced, PromptRules()), by_diffusers(pipeline, spaced))


def test_a_chunk_ends_at_break_or_at_a_late_comma(pipeline):
    assert words(pipeline, "a man BREAK old", LONG) == ["a</w>man</w>", "old</w>"]
    assert words(pipeline, "BREAK a BREAK BREAK", LONG) == ["a</w>"]
    late = words(pipeline, "a" * 24 + ", smiling", LONG)
    assert late == ["a" * 24 + "</w>,</w>", "smiling</w>"]
    early = words(pipeline, "a, " + "b" * 40, LONG)
    assert early == ["a</w>,</w>" + "b" * 28, "b" * 12 + "</w>"]
    assert words(pipeline, "a man BREAK old", WEIGHED) == [
        "a</w>man</w>BREAK</w>".lower() + "old</w>"
    ]


def test_a_weight_multiplies_its_tokens_and_leaves_the_mean(pipeline):
    plain = by_diffusers(pipeline, "a happy face")[0]
    weighed = states(pipeline, "a (happy:1.5) face", WEIGHED)[0]
    expected = plain.clone()
    expected[2:7] *= 1.5  # behind the start mark and "a"
    expected *= plain.mean() / expected.mean()
    assert torch.allclose(weighed, expected, atol=1e-5)
    assert torch.equal(states(pipeline, "a (happy:1) face", WEIGHED)[0], plain)


def test_weights_reach_over_chunks(pipeline):
    chunks = deal_out(pipeline.tokenizer, "(a BREAK b:2) c", BOTH)
    assert [[weight for _, weight in chunk] for chunk in chunks] == [[2.0], [2.0, 1.0]]


def test_the_shorter_of_prompt_and_negative_prompt_gets_chunks_of_nothing(pipeline):
    tokenizer, network = pipeline.tokenizer, pipeline.text_encoder
    long, short = (deal_out(tokenizer, text, LONG) for text in ("x " * 40, "happy"))
    pair = encode_pairs(FAMILY, [tokenizer], [network], [long, long], short)
    prompts, negative = (texts.states for texts in pair)
    assert prompts.shape == negative.shape == (2, 64, 32)
    nothing = by_diffusers(pipeline, "")
    filled = torch.cat([by_diffusers(pipeline, "happy"), nothing], dim=1)
    assert torch.allclose(negative[1:], filled, atol=1e-5)


def test_sdxl_reads_a_long_prompt_through_both_encoders_and_sums_up_its_beginning(tiny_sdxl):
    pipeline = StableDiffusionXLPipeline.from_pretrained(tiny_sdxl, add_watermarker=False)
    tokenizers = [pipeline.tokenizer, pipeline.tokenizer_2]
    encoders = [pipeline.text_encoder, pipeline.text_encoder_2]
    chunks = deal_out(tokenizers[0], "happy, a face BREAK (old:1.5) man", BOTH)
    found = encode_chunks(SDXL, tokenizers, encoders, chunks)
    first, _, pooled, _ = pipeline.encode_prompt("happy, a face")
    second = pipeline.encode_prompt("old man")[0]
    length = first.shape[1]
    assert found.states.shape == (1, 2 * length, first.shape[2])
    assert torch.allclose(found.states[:, :length], first, atol=1e-5)
    assert torch.allclose(found.pooled, pooled, atol=1e-5)
    weighed, width = found.states[:, length:], encoders[0].config.hidden_size
    assert not torch.allclose(weighed, second, atol=1e-3)
    # Each encoder's states are weighed by themselves, "man" (the second word) not at all.
    for part in (slice(None, width), slice(width, None)):
        ratio = (weighed / second)[0, :, part]
        words = ratio[3 : len(chunks[1]) + 1]
        assert torch.allclose(words, words[:1, :1].expand_as(words), atol=1e-2)
