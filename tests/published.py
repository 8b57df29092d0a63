"""Files as StableFaceEmotion publishes them, with small random weights."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor
from transformers import CLIPImageProcessor

WIDTHS, OUT = (16, 32, 96), 24
PUBLISHED = {"landmarks": "alignment", "depth": "depth", "mesh": "flame"}


def random_state(seed: int, widths=WIDTHS, out=OUT) -> dict[str, Tensor]:
    """A state dict written out by hand from the published layout."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        fan_in = torch.tensor(shape[1:]).prod().item() if len(shape) > 1 else 4
        return torch.randn(shape, generator=generator) / fan_in**0.5

    state = {"conv_in.weight": draw(widths[0], 3, 3, 3), "conv_in.bias": draw(widths[0])}
    attended = []
    for level, (narrow, wide) in enumerate(pairwise(widths)):
        for place, width in ((2 * level, narrow), (2 * level + 1, wide)):
            state[f"blocks.{place}.weight"] = draw(width, narrow, 3, 3)
            state[f"blocks.{place}.bias"] = draw(width)
            attended.append((f"attentions.{place}", width))
    for name, width in [*attended, ("guidance_attention", widths[-1])]:
        inner = f"{name}.transformer_blocks.0"
        for part in (f"{name}.norm", f"{inner}.norm1", f"{inner}.norm3"):
            state[f"{part}.weight"], state[f"{part}.bias"] = 1 + draw(width), draw(width)
        for part in (f"{name}.proj_in", f"{name}.proj_out"):
            state[f"{part}.weight"], state[f"{part}.bias"] = draw(width, width, 1, 1), draw(width)
        for part in ("to_q", "to_k", "to_v", "to_out.0"):
            state[f"{inner}.attn1.{part}.weight"] = draw(width, width)
        state[f"{inner}.attn1.to_out.0.bias"] = draw(width)
        for part, shape in (("0.proj", (8 * width, width)), ("2", (width, 4 * width))):
            state[f"{inner}.ff.net.{part}.weight"] = draw(*shape)
            state[f"{inner}.ff.net.{part}.bias"] = draw(shape[0])
    state["conv_out.weight"], state["conv_out.bias"] = draw(out, widths[-1], 3, 3), draw(out)
    return state


def publish(folder: Path, widths=WIDTHS, out=OUT, pattern="{}_encoder_pytorch_model.bin") -> dict:
    """Write the three files; returns the state dicts by our names."""
    folder.mkdir(parents=True, exist_ok=True)
    states = {name: random_state(seed, widths, out) for seed, name in enumerate(PUBLISHED)}
    for name, state in states.items():
        torch.save(state, folder / pattern.format(PUBLISHED[name]))
    return states


def save_published(folder: Path, base: Path) -> Path:
    """A pipeline folder over `base` with pickled weights and the three encoders beside."""
    pipeline = StableDiffusionPipeline.from_pretrained(base)
    pipeline.save_pretrained(folder, safe_serialization=False)
    index = json.loads((folder / "model_index.json").read_text())
    # The checker is named but never loaded; the extractor's class has since been renamed.
    index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    index["feature_extractor"] = ["transformers", "CLIPFeatureExtractor"]
    CLIPImageProcessor().save_pretrained(folder / "feature_extractor")
    (folder / "model_index.json").write_text(json.dumps(index))
    publish(folder / "guidance_encoder", WIDTHS, pipeline.unet.conv_in.out_channels)
    return folder
