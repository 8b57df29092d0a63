from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, StableDiffusionPipeline

from sfe_core.errors import RunError
from sfe_core.sampling.drawing import Order, draw_all, draw_orders, prepare_pipeline
from sfe_core.sampling.settings import DrawSettings

SETTINGS = DrawSettings(
    variant="text",
    weights_sha256="",
    scheduler="ddim",
    steps=2,
    guidance_scale=3.0,
    negative_prompt="",
    seed=0,
    resolution=8,
    precision="float32",
    strengths={},
)
ORDERS = [Order(f"key {n}", f"face {n}", n, {}) for n in range(5)]


class FakePipeline:
    """Paints each picture in the grey its generator draws; fails beyond `room` pictures at once."""

    device = torch.device("cpu")

    def __init__(self, room: int = 100, error: Exception | None = None, fill: float | None = None):
        self.room, self.fill = room, fill
        self.error = error or torch.OutOfMemoryError("CUDA out of memory")
        self.sizes: list[int] = []

    def __call__(self, prompt, generator, height, width, **_options):
        self.sizes.append(len(prompt))
        if len(prompt) > self.room:
            raise self.error
        greys = [torch.rand(1, generator=one).item() for one in generator]
        images = torch.tensor(greys)[:, None, None, None].expand(-1, 3, height, width).clone()
        if self.fill is not None:
            images[-1, 0, 0, 0] = self.fill
        return SimpleNamespace(images=images)


def draw(pipeline: FakePipeline, batch_size: int, listener=None) -> dict[str, np.ndarray]:
    drawn = draw_all(pipeline, iter(ORDERS), SETTINGS, batch_size, listener)
    return {order.key: pixels for order, pixels in drawn}


@pytest.mark.parametrize("batch_size", [1, 2, 5, 8])
def test_order_and_noise_do_not_hang_on_the_batch(batch_size: int):
    pictures = draw(FakePipeline(), batch_size)
    assert list(pictures) == [order.key for order in ORDERS]
    for order in ORDERS:
        grey = torch.rand(1, generator=torch.Generator().manual_seed(order.seed)).item()
        assert (pictures[order.key] == round(grey * 255)).all()
        assert pictures[order.key].shape == (8, 8, 3)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        MemoryError(),
    ],
)
def test_out_of_memory_halves_the_batch_says_so_and_loses_nothing(error: Exception, listener):
    pipeline = FakePipeline(room=1, error=error)
    pictures = draw(pipeline, 4, listener)
    assert pipeline.sizes == [4, 2, 1, 1, 1, 1, 1]
    assert [warning[:25] for warning in listener.warnings] == [
        "out of memory at 4 pictur",
        "out of memory at 2 pictur",
    ]
    expected = draw(FakePipeline(), 1)
    assert list(pictures) == list(expected)
    assert all(np.array_equal(pictures[key], expected[key]) for key in expected)


def test_out_of_memory_at_one_picture_is_the_end(listener):
    with pytest.raises(RunError, match="out of memory at a single picture"):
        draw(FakePipeline(room=0), 2, listener)


def test_any_other_failure_is_passed_on(listener):
    with pytest.raises(RuntimeError, match="shapes"):
        draw(FakePipeline(room=0, error=RuntimeError("shapes do not fit")), 2, listener)
    assert listener.warnings == []


def test_a_decoder_that_overflows_in_half_precision_draws_again_in_float32(
    tiny_base: Path, listener
):
    """As the VAE of SDXL does: its activations leave half precision's range, not float32's."""
    settings = replace(SETTINGS, resolution=32)
    pipelines = []
    for precision in (torch.float32, torch.float16):
        pipeline = StableDiffusionPipeline.from_pretrained(tiny_base)
        with torch.no_grad():
            pipeline.vae.decoder.conv_in.weight.mul_(1e5)
        pipelines.append(prepare_pipeline(pipeline, torch.device("cpu"), precision))
    wide, narrow = pipelines
    assert not torch.isfinite(narrow.vae.decoder.conv_in(torch.ones(1, 4, 4, 4).half())).all()
    wanted = [pixels for _, pixels in draw_all(wide, iter(ORDERS[:3]), settings, 2, listener)]
    assert listener.warnings == []
    drawn = [pixels for _, pixels in draw_all(narrow, iter(ORDERS[:3]), settings, 2, listener)]
    assert np.abs(np.array(drawn).astype(int) - wanted).mean() < 3
    [warning] = listener.warnings
    assert "3 pictures, key 0 first" in warning and "float32" in warning
    assert narrow.vae.dtype == torch.float16  # later pictures do not hang on earlier ones


@pytest.mark.parametrize("base", ["tiny_base", "tiny_sdxl"])
def test_prompts_of_other_lengths_beside_it_do_not_change_a_picture(request, base: str):
    settings = replace(
        SETTINGS,
        resolution=32,
        guidance_scale=9.0,
        long_prompts="chunks",
        prompt_weights="a1111",
    )
    pipeline = DiffusionPipeline.from_pretrained(request.getfixturevalue(base))
    prepare_pipeline(pipeline, torch.device("cpu"), torch.float32)
    texts = ["happy", "x " * 30 + "sad face " * 30, "(sad:2), face", "y " * 70]
    orders = [Order(str(n), text, 5, {}) for n, text in enumerate(texts)]
    together = draw_orders(pipeline, orders, settings).astype(int)
    alone = [draw_orders(pipeline, [order], settings)[0] for order in orders]
    assert np.abs(together - alone).max() <= 1
    plain = draw_orders(
        pipeline, orders, replace(settings, long_prompts="cut", prompt_weights="text")
    ).astype(int)
    changed = [
        bool(np.abs(one - other).max() > 1) for one, other in zip(together, plain, strict=True)
    ]
    assert changed == [False, True, True, True]
    longer = replace(settings, negative_prompt="z " * 40)
    assert np.abs(draw_orders(pipeline, orders[:1], longer)[0].astype(int) - together[0]).max() > 1


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_names_the_picture(value: float):
    with pytest.raises(RunError, match="key 2.*not finite"):
        draw_orders(FakePipeline(fill=value), ORDERS[:3], SETTINGS)
