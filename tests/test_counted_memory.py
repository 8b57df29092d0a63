"""What a memory count says is what real tensors take: a small chain, and the tiny base."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn

from sfe_core.config.loading import preset_config
from sfe_core.diffusion.encoders import Encoders, photos_at_once
from sfe_core.diffusion.loading import BaseModels, load_base
from tests.benchmarks.counted_memory import BLOCK, AsOnGPU, Count, backward, bytes_of
from tests.benchmarks.personal_memory import META, connect, count_update
from tests.tiny import make_tiny_base

SETTINGS = {"train.lora_rank": 4, "model.resolution": 32, "train.gradient_checkpointing": False}


def weightless(base: BaseModels) -> BaseModels:
    """The same base without contents."""
    with torch.device(META):
        unet = UNet2DConditionModel.from_config(base.unet.config)
        vae = AutoencoderKL.from_config(base.vae.config).requires_grad_(False)
    return BaseModels(base.folder, base.family, vae, unet, {}, {}, base.scheduler)


def test_a_chain_holds_what_it_must():
    with Count() as count, AsOnGPU(None):
        first, second = (nn.Linear(256, 256, bias=False, device=META) for _ in range(2))
        weights = count.live
        loss = second(first(torch.empty(128, 256, device=META)).relu()).sum()
        kept = count.live - weights
        del loss
    assert weights == 2 * 256 * 256 * 4
    # The input, and one feature map in place of two: what relu was given is not kept.
    assert kept == 2 * 128 * 256 * 4 + BLOCK


def test_half_precision_halves_what_is_kept():
    def kept(half: torch.dtype | None) -> int:
        layer = nn.Linear(256, 256, bias=False, device=META)
        with Count() as count, AsOnGPU(half):
            count.hold([layer.weight])
            images = torch.empty(128, 256, device=META)
            made = layer(images)
            found = count.live - bytes_of([images, layer.weight])
            backward(made.sum())
        assert layer.weight.grad is not None
        assert layer.weight.grad.dtype == torch.float32
        return found

    full, less = kept(None), kept(torch.bfloat16)
    assert full == 128 * 256 * 4
    # The output and the cast input; and the weight too, were the input to have a gradient.
    assert less == 2 * 128 * 256 * 2


def test_parts_are_those_of_real_tensors(tmp_path: Path):
    config = preset_config("personal-11gb", SETTINGS)
    folder = make_tiny_base(tmp_path / "base")
    real = connect(config, load_base(folder, encoders=False), torch.device("cpu"))
    for parameter in real.trained:
        parameter.grad = torch.zeros_like(parameter)
    counted = count_update(connect(config, weightless(load_base(folder))))
    expected = {name: bytes_of(tensors) for name, tensors in real.parts().items()}
    assert {name: counted[name] for name in expected} == expected
    assert all(expected.values())
    assert counted["total"] > sum(expected.values())
    # By hand: a gradient a parameter, two moments, an average.
    assert expected["optimiser"] == 2 * expected["gradients"] == 2 * expected["moving average"]


def test_photos_are_encoded_alike_in_parts(tmp_path: Path, monkeypatch):
    encoders = Encoders(make_tiny_base(tmp_path / "base"))
    photos = torch.rand(5, 3, 32, 32) * 2 - 1
    whole = encoders.photos(photos)
    monkeypatch.setattr("sfe_core.diffusion.encoders._PIXELS_AT_ONCE", 2 * 32 * 32)
    assert photos_at_once(32) == 2
    for part, other in zip(encoders.photos(photos), whole, strict=True):
        assert part.shape == other.shape
        torch.testing.assert_close(part, other)
