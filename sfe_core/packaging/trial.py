"""The proof that a package works: it is loaded from disk and draws a picture, both ways."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from diffusers import DiffusionPipeline, DPMSolverMultistepScheduler
from PIL import Image

from sfe_core.diffusion.drawing import draw_batch, is_blank, prompt_words
from sfe_core.diffusion.expression_embeddings import load_embeddings
from sfe_core.diffusion.expression_fusion import ExpressionFusion
from sfe_core.diffusion.families.known import family_of, networks_of
from sfe_core.diffusion.fineface import units_kind
from sfe_core.diffusion.guidance_files import EXPRESSIONS_FOLDER, FUSION_FOLDER, UNITS_FOLDER
from sfe_core.diffusion.loading import read_configs
from sfe_core.errors import RunError, UserError
from sfe_core.files import derive_seed
from sfe_core.quiet import quiet_libraries

_COUNTED = "position_ids"  # 0, 1, 2, …: files of older transformers hold them


@dataclass(frozen=True)
class TrialOrder:
    """What is drawn to try a package.

    Args:
        name: of the package, for messages.
        prompt: text.
        maps: guidance by name, each [3, R, R] in [0, 1].
        units: FACS name to intensity, 0 to 5.
        expressions: name to strength.
        expression_prompt: what shows an expression on anyone, for fusion; "" without.
        resolution: R, pixels.
        steps: denoising steps.
        guidance_scale: classifier-free.
        seed: of the noise.
    """

    name: str
    prompt: str
    maps: dict[str, torch.Tensor]
    units: dict[str, float]
    resolution: int
    steps: int
    guidance_scale: float
    seed: int
    expressions: dict[str, float] = field(default_factory=dict)
    expression_prompt: str = ""


def try_plain(folder: Path, order: TrialOrder) -> Image.Image:
    """Load the package as any diffusers user would, and draw one picture from text.

    Raises:
        RunError: it does not load, or the picture is blank or not finite.
    """
    return draw_trial(load_checked(folder, order.name), order)


def try_guided(folder: Path, order: TrialOrder) -> Image.Image:
    """Load the package with all it holds, and draw a picture from text and all of that.

    Raises:
        RunError: it does not load, or the picture is blank or not finite.
    """
    maps = {name: image[None] for name, image in order.maps.items()}
    return draw_trial(load_checked(folder, order.name, guided=True), order, maps, guided=True)


def load_checked(folder: Path, name: str, guided: bool = False) -> DiffusionPipeline:
    """Load a pipeline folder in float32; every tensor must have its place, and every place its own.

    Args:
        name: of the package, for messages.
        guided: with its guidance encoders, action units, expressions and fusion.

    Raises:
        RunError: it does not load, or tensors are missing, left over or of another shape.
    """
    remedy = "check that model.base is the model the run was trained from"
    configs = read_configs(folder, name)
    family = family_of(configs, name)
    kind = family.guided_pipeline if guided else family.pipeline
    parts = {}
    try:
        with quiet_libraries():
            for part, network in networks_of(configs).items():
                # Told to, they return a pair, which their annotations do not say.
                parts[part], report = network.from_pretrained(  # type: ignore[misc]
                    folder / part,
                    local_files_only=True,
                    output_loading_info=True,
                    torch_dtype=torch.float32,
                )
                _check_keys(f"{name}: {part}", report, remedy)
            if guided and (folder / UNITS_FOLDER).is_dir():
                kind_of_units = units_kind(folder / UNITS_FOLDER)
                parts[UNITS_FOLDER], report = kind_of_units.from_pretrained(
                    folder / UNITS_FOLDER, output_loading_info=True, torch_dtype=torch.float32
                )
                _check_keys(f"{name}: {UNITS_FOLDER}", report, remedy)
            if guided and (folder / EXPRESSIONS_FOLDER).is_dir():
                parts[EXPRESSIONS_FOLDER] = load_embeddings(folder / EXPRESSIONS_FOLDER)
            if guided and (folder / FUSION_FOLDER).is_dir():
                parts[FUSION_FOLDER] = ExpressionFusion.from_pretrained(
                    folder / FUSION_FOLDER, torch_dtype=torch.float32
                )
            options = {**family.guided_pipeline.own_options, **parts}
            pipeline = kind.from_pretrained(folder, local_files_only=True, **options)
    except (OSError, ValueError, RuntimeError, TypeError, KeyError, UserError) as error:
        raise RunError(
            name, f"{kind.__name__} does not load the package ({error})", remedy
        ) from error
    return pipeline


def _check_keys(where: str, report: dict, remedy: str) -> None:
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        odd = sorted(str(key) for key in report[kind] if not str(key).endswith(_COUNTED))
        if odd:
            problem = f"{len(odd)} {kind.replace('_', ' ')}, {odd[0]} first"
            raise RunError(where, problem, remedy)


def draw_trial(
    pipeline: DiffusionPipeline,
    order: TrialOrder,
    maps: Mapping[str, torch.Tensor] | None = None,
    guided: bool = False,
) -> Image.Image:
    """Draw the picture of `order` with a loaded pipeline, by `maps` if there are any.

    Args:
        guided: by the units, expressions and fusion of the order too.

    Raises:
        RunError: it does not draw, or the picture is blank or not finite.
    """
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.to("cuda" if torch.cuda.is_available() else "cpu")
    seed = derive_seed(order.seed, "package", "noise")
    try:
        with torch.inference_mode():
            picture = draw_batch(
                pipeline,
                prompt_words([order.prompt]),
                [seed],
                resolution=order.resolution,
                steps=order.steps,
                guidance_scale=order.guidance_scale,
                maps=maps,
                units=[order.units] if guided and order.units else None,
                expressions=[order.expressions] if guided and order.expressions else None,
                expression_prompts=[order.expression_prompt]
                if guided and order.expression_prompt
                else None,
            )[0]
    except RuntimeError as error:
        raise RunError(
            order.name,
            f"the package loads but does not draw ({error})",
            "check that model.base is the model the run was trained from",
        ) from error
    return check_picture(picture, order.name)


def check_picture(picture: torch.Tensor, where: str) -> Image.Image:
    """The picture [3, H, W] in [0, 1] as an image.

    Raises:
        RunError: it holds values that are not finite, or is one flat colour.
    """
    remedy = "train again with a lower train.learning_rate, or package an earlier --step"
    if not torch.isfinite(picture).all():
        raise RunError(where, "the package draws values that are not finite", remedy)
    levels = picture.float().mul(255).round().clamp(0, 255).to(torch.uint8).cpu()
    pixels = levels.permute(1, 2, 0).contiguous().numpy()
    if is_blank(pixels):
        raise RunError(where, "the package draws a blank picture", remedy)
    return Image.fromarray(pixels)
