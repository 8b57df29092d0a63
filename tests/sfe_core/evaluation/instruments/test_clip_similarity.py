"""CLIP's similarity on a tiny CLIP: transformers' own numbers, captions in order, none missed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sfe_core.errors import RunError
from sfe_core.evaluation.instruments.clip_similarity import ClipSimilarity, load_clip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    """A random CLIP of two layers, with the tiny base's tokenizer."""
    from transformers import (
        CLIPConfig,
        CLIPImageProcessor,
        CLIPModel,
        CLIPTextConfig,
        CLIPTokenizerFast,
        CLIPVisionConfig,
    )

    folder = tmp_path_factory.mktemp("clip") / "tiny-clip"
    tokenizer = CLIPTokenizerFast.from_pretrained(tiny_base / "tokenizer")
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    shape |= {"num_attention_heads": 2}
    ends = {"eos_token_id": tokenizer.eos_token_id, "bos_token_id": tokenizer.bos_token_id}
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=24,
        pad_token_id=tokenizer.pad_token_id,
        **ends,
        **shape,
    )
    vision = CLIPVisionConfig(image_size=32, patch_size=8, **shape)
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=8
    )
    CLIPModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    side = {"height": 32, "width": 32}
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=side).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def clip(folder: Path) -> ClipSimilarity:
    return load_clip(folder)


CAPTIONS = ["happy, face", "sad, a man of forty"]


@torch.inference_mode()
def test_it_is_transformers_own(folder: Path, clip: ClipSimilarity):
    from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizerFast

    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    model = CLIPModel.from_pretrained(folder).eval()
    texts = CLIPTokenizerFast.from_pretrained(folder)(CAPTIONS, padding=True, return_tensors="pt")
    seen = CLIPImageProcessor.from_pretrained(folder)(
        [Image.fromarray(picture) for picture in pixels], return_tensors="pt"
    )
    found = model(**texts, **seen)
    expected = torch.nn.functional.cosine_similarity(found.image_embeds, found.text_embeds)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1
    torch.testing.assert_close(clip(images, CAPTIONS), expected, atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_each_picture_meets_its_own_caption(clip: ClipSimilarity):
    images = torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    straight, crossed = clip(images, CAPTIONS), clip(images.flip(0), CAPTIONS[::-1])
    torch.testing.assert_close(straight, crossed.flip(0), atol=1e-5, rtol=1e-4)
    assert (straight.abs() <= 1).all() and straight[0] != straight[1]


@torch.inference_mode()
def test_no_caption_is_no_number_and_a_long_one_is_cut(clip: ClipSimilarity):
    images = torch.zeros(2, 3, 32, 32)
    found = clip(images, [None, "happy " * 200])
    assert torch.isnan(found[0]) and torch.isfinite(found[1])


def test_a_folder_without_clip_is_told(tmp_path: Path):
    with pytest.raises(RunError, match="is not a CLIP"):
        load_clip(tmp_path)
