"""Drawing one batch with a pipeline, wherever pictures are drawn: samples, trials, split runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline
from torch import Tensor

from sfe_core.diffusion.families.contract import Texts
from sfe_core.quiet import quiet_libraries

# Below half a grey level of spread nothing but rounding is left to see.
_LEAST_SPREAD_LEVELS = 0.5


def draw_batch(
    pipeline: DiffusionPipeline,
    words: Mapping[str, Any],
    seeds: Sequence[int],
    *,
    resolution: int,
    steps: int,
    guidance_scale: float,
    guidance_rescale: float = 0.0,
    maps: Mapping[str, Tensor] | None = None,
    strengths: Mapping[str, float] | None = None,
    units: Tensor | Sequence[Mapping[str, float]] | None = None,
    units_guidance_scale: float = 1.0,
    expressions: Tensor | Sequence[Mapping[str, float]] | None = None,
    expression_guidance_scale: float | None = None,
    expression_prompts: Sequence[str] | None = None,
    fusion_masks: Tensor | None = None,
    fusion_strength: float = 1.0,
    before_step: Callable[[], None] | None = None,
    after_step: Callable[[int, Tensor], Tensor] | None = None,
) -> Tensor:
    """Draw B pictures at once: [B, 3, R, R] in [0, 1], on the pipeline's device.

    A picture's noise comes from a generator of its own on the CPU, so it depends on its seed alone:
    not on its neighbours, its place or the device.

    Args:
        pipeline: of any family, ready to draw; a guided one where there are maps.
        words: what it is told of the prompts, see `prompt_words` and `embedded_words`.
        seeds: B of them.
        resolution: R, pixels.
        guidance_rescale: how far the guided prediction's spread is brought back to that of the
            prompt's alone (Lin et al. 2023, https://arxiv.org/abs/2305.08891, sec. 3.4), in [0, 1].
        maps: guidance by name, each [B, 3, R, R] in [0, 1]; empty = text alone.
        strengths: of the maps, 1 where not named.
        units: what is told of the action units of each, see `GuidedPipeline`; None = of none.
        units_guidance_scale: of these.
        expressions: what is told of the expression of each, see `GuidedPipeline`; None = of none.
        expression_guidance_scale: of these; None = that of the text.
        expression_prompts: what shows the expression of each on anyone, see `GuidedPipeline`; None
            = no fusion.
        fusion_masks: where it shows, [B or 1, 1, H, W] in [0, 1]; None = found by its words.
        fusion_strength: of the change.
        before_step: called before every denoising step but the first; what it raises ends it.
        after_step: is given the number of a step and the latents [B, C, h, w] that it left, and
            says which to go on with.
    """
    options: dict[str, Any] = {}
    if maps:
        options |= {"guidance_images": maps, "guidance_strengths": strengths}
    if units is not None:
        options |= {"action_units": units, "units_guidance_scale": units_guidance_scale}
    if expressions is not None:
        options |= {
            "expressions": expressions,
            "expression_guidance_scale": expression_guidance_scale,
        }
    if expression_prompts is not None:
        options |= {
            "expression_prompt": list(expression_prompts),
            "fusion_mask": fusion_masks,
            "fusion_strength": fusion_strength,
        }
    if before_step is not None or after_step is not None:

        def look(_pipeline: Any, step: int, _timestep: Any, values: dict) -> dict:
            if before_step is not None:
                before_step()
            if after_step is not None:
                return {**values, "latents": after_step(step, values["latents"])}
            return values

        options["callback_on_step_end"] = look
    # The text encoder's remark on captions beyond its window is made by the callers instead.
    with torch.no_grad(), quiet_libraries():
        return pipeline(
            height=resolution,
            width=resolution,
            num_inference_steps=steps,
            guidance_scale=guidance_scale,
            guidance_rescale=guidance_rescale,
            generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
            output_type="pt",
            **words,
            **options,
        ).images


def prompt_words(prompts: Sequence[str], negative: str = "") -> dict[str, Any]:
    """Prompts and what is not to be drawn, for `draw_batch`.

    An empty negative prompt is left out: it is then what the family takes for no text, as where
    captions are dropped in training (for SDXL that is not the empty caption).
    """
    words: dict[str, Any] = {"prompt": list(prompts)}
    if negative:
        words["negative_prompt"] = [negative] * len(prompts)
    return words


def embedded_words(texts: Texts, negative: Texts) -> dict[str, Tensor]:
    """The same of texts encoded already, both of B."""
    words = {"prompt_embeds": texts.states, "negative_prompt_embeds": negative.states}
    if texts.pooled is not None and negative.pooled is not None:
        words["pooled_prompt_embeds"] = texts.pooled
        words["negative_pooled_prompt_embeds"] = negative.pooled
    return words


def is_blank(pixels: np.ndarray) -> bool:
    """Whether a picture, uint8 [H, W, 3], is of one colour, as safety checkers leave it."""
    return bool(pixels.reshape(-1, pixels.shape[-1]).std(axis=0).max() < _LEAST_SPREAD_LEVELS)
