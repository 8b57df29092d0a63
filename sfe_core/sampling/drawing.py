"""Pictures from a pipeline, in batches that decide speed and memory but not the pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline

from sfe_core.diffusion.drawing import draw_batch, embedded_words, prompt_words
from sfe_core.diffusion.families.known import family_drawn_by
from sfe_core.diffusion.prompt_chunks import Chunk, deal_out, encode_pairs
from sfe_core.errors import RunError
from sfe_core.network_layout import to_channels_last
from sfe_core.processes.threads import ThreadWatch
from sfe_core.quiet import quiet_libraries
from sfe_core.reporting import Reporter
from sfe_core.sampling.settings import DrawSettings


@dataclass(frozen=True)
class Order:
    """One picture to draw.

    Args:
        key: the picture's name.
        prompt: text, cleaned already.
        seed: of all noise of this picture.
        maps: guidance by name, each [3, H, W] in [0, 1]; empty = text alone.
        units: what is told of action units, see `unit_conditions`.
        expressions: what is told of the expression, see `expression_weights`.
        fusion_prompt: what shows the expression on anyone; "" = nothing is fused.
    """

    key: str
    prompt: str
    seed: int
    maps: dict[str, torch.Tensor]
    units: dict[str, float] = field(default_factory=dict)
    expressions: dict[str, float] = field(default_factory=dict)
    fusion_prompt: str = ""


def prepare_pipeline(
    pipeline: DiffusionPipeline, device: torch.device, precision: torch.dtype
) -> DiffusionPipeline:
    """The pipeline on `device` in `precision`, convolutions in channels-last, its bar off."""
    with quiet_libraries():
        pipeline.to(device=device, dtype=precision)
    # Also on the CPU, though bfloat16 is a fifth slower so: a picture is the same in any batch.
    to_channels_last(pipeline.unet, pipeline.vae)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def draw_orders(
    pipeline: DiffusionPipeline,
    orders: Sequence[Order],
    settings: DrawSettings,
    widened: list[str] | None = None,
) -> np.ndarray:
    """Draw `orders` at once.

    Where a decoder of half precision overflows, as that of SDXL is known to, those pictures are
    drawn again with it in float32.

    Args:
        pipeline: ready to draw.
        orders: the pictures.
        settings: what they share.
        widened: takes the keys of pictures that were drawn again.

    Returns:
        uint8 [B, H, W, 3], RGB.

    Raises:
        RunError: a picture holds a value that is not finite, in float32 too.
    """
    images = _run(pipeline, orders, settings)
    torn = _not_finite(images)
    if torn and _is_narrow(pipeline):
        with _wide_decoder(pipeline):
            again = _run(pipeline, [orders[place] for place in torn], settings)
        images = images.float()
        images[torn] = again.float()
        if widened is not None:
            widened += [orders[place].key for place in torn]
        torn = _not_finite(images)
    if torn:
        raise RunError(
            f"picture {orders[torn[0]].key}",
            "the model drew values that are not finite",
            "train again with a lower train.learning_rate, or package an earlier --step",
        )
    levels = images.float().mul(255.0).round().clamp(0, 255).to(torch.uint8)
    return levels.permute(0, 2, 3, 1).cpu().numpy()


def _not_finite(images: torch.Tensor) -> list[int]:
    """Places of the pictures [B, 3, H, W] that hold a value that is not finite."""
    finite = torch.isfinite(images).flatten(1).all(dim=1).tolist()
    return [place for place, whole in enumerate(finite) if not whole]


def _is_narrow(pipeline: DiffusionPipeline) -> bool:
    vae = getattr(pipeline, "vae", None)
    return vae is not None and vae.dtype in (torch.float16, torch.bfloat16)


@contextmanager
def _wide_decoder(pipeline: DiffusionPipeline) -> Iterator[None]:
    """The pipeline's decoder computes in float32 inside, whatever the latents' precision."""
    vae = pipeline.vae
    narrow = vae.dtype
    first = vae.post_quant_conv or vae.decoder
    hook = first.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(), *inputs[1:]))
    vae.to(torch.float32)
    try:
        yield
    finally:
        vae.to(narrow)
        hook.remove()


def _run(
    pipeline: DiffusionPipeline, orders: Sequence[Order], settings: DrawSettings
) -> torch.Tensor:
    """The pictures of `orders`, [B, 3, H, W] in [0, 1]; those of as many chunks are drawn at once.

    Filled up to the chunks of a neighbour, a prompt would be drawn otherwise.
    """
    fused = [bool(order.fusion_prompt) for order in orders]
    if any(fused) and not all(fused):
        return _apart(pipeline, orders, settings, fused)
    rules = settings.prompt_rules
    if rules.plain:
        words = prompt_words([order.prompt for order in orders], settings.negative_prompt)
        return _run_at_once(pipeline, orders, settings, words)
    family = family_drawn_by(pipeline)
    tokenizers = [getattr(pipeline, name) for name in family.tokenizers]
    encoders = [getattr(pipeline, name) for name in family.text_encoders]

    def chunks(text: str) -> list[Chunk]:
        return deal_out(tokenizers[0], text, rules)

    negative = chunks(settings.negative_prompt)
    prompts = [chunks(order.prompt) for order in orders]
    places: dict[int, list[int]] = {}
    for place, prompt in enumerate(prompts):
        places.setdefault(max(len(prompt), len(negative)), []).append(place)
    drawn: dict[int, torch.Tensor] = {}
    for some in places.values():
        with torch.inference_mode():
            texts, unwanted = encode_pairs(
                family, tokenizers, encoders, [prompts[place] for place in some], negative
            )
        if not settings.negative_prompt:
            unwanted = family.unconditional(unwanted, pipeline.config)
        words = embedded_words(texts, unwanted)
        images = _run_at_once(pipeline, [orders[place] for place in some], settings, words)
        drawn.update(zip(some, images, strict=True))
    return torch.stack([drawn[place] for place in range(len(orders))])


def _apart(
    pipeline: DiffusionPipeline,
    orders: Sequence[Order],
    settings: DrawSettings,
    fused: Sequence[bool],
) -> torch.Tensor:
    """As `_run`, those that are fused apart from the others: a call tells all or none of it."""
    drawn: dict[int, torch.Tensor] = {}
    for kind in (False, True):
        places = [place for place, one in enumerate(fused) if one == kind]
        images = _run(pipeline, [orders[place] for place in places], settings)
        drawn.update(zip(places, images, strict=True))
    return torch.stack([drawn[place] for place in range(len(orders))])


def _run_at_once(
    pipeline: DiffusionPipeline,
    orders: Sequence[Order],
    settings: DrawSettings,
    words: Mapping[str, Any],
) -> torch.Tensor:
    """As `_run`; `words` are what the pipeline is given of prompts and negative prompt."""
    names, units_scale = orders[0].maps, settings.units_guidance_scale
    fused = bool(orders[0].fusion_prompt)
    with torch.inference_mode():
        return draw_batch(
            pipeline,
            words,
            [order.seed for order in orders],
            resolution=settings.resolution,
            steps=settings.steps,
            guidance_scale=settings.guidance_scale,
            guidance_rescale=settings.guidance_rescale,
            maps={name: torch.stack([order.maps[name] for order in orders]) for name in names},
            strengths=settings.strengths,
            units=None if units_scale is None else [order.units for order in orders],
            units_guidance_scale=units_scale or 0.0,
            expressions=[order.expressions for order in orders] if settings.expressions else None,
            expression_guidance_scale=settings.expression_guidance_scale,
            expression_prompts=[order.fusion_prompt for order in orders] if fused else None,
            fusion_strength=settings.fusion_strength or 0.0,
        )


def draw_all(
    pipeline: DiffusionPipeline,
    orders: Iterator[Order],
    settings: DrawSettings,
    batch_size: int,
    reporter: Reporter,
) -> Iterator[tuple[Order, np.ndarray]]:
    """Draw every order, yielding (order, uint8 [H, W, 3]) in the order given.

    Out of memory halves the batch for this and all later batches, with a warning; at a single
    picture it is a RunError. Pictures that a half-precision decoder could not draw are counted.
    """
    widened: list[str] = []
    waiting: list[Order] = []
    exhausted = False
    with ThreadWatch(pipeline.device.type, reporter) as threads:
        while True:
            while not exhausted and len(waiting) < batch_size:
                order = next(orders, None)
                exhausted = order is None
                if order is not None:
                    waiting.append(order)
            if not waiting:
                break
            batch = waiting[:batch_size]
            try:
                with threads.piece():
                    pictures = draw_orders(pipeline, batch, settings, widened)
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                batch_size = _halved(len(batch), reporter)
                continue
            del waiting[: len(batch)]
            yield from zip(batch, pictures, strict=True)
    if widened:
        reporter.warn(
            f"the decoder overflowed in half precision: drawn again with it in float32: "
            f"{len(widened)} pictures, {widened[0]} first; sampling.precision=float32 draws all so"
        )


def _halved(size: int, reporter: Reporter) -> int:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if size == 1:
        raise RunError(
            "sampling", "out of memory at a single picture", "lower model.resolution or free memory"
        )
    reporter.warn(f"out of memory at {size} pictures at once: going on with {size // 2}")
    return size // 2


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says so, of a GPU or of the CPU."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    return "out of memory" in text or "not enough memory" in text or "allocate memory" in text
