"""Which pipeline draws which variant, by which sampler, on which device, in which precision."""

from __future__ import annotations

import filecmp
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    SchedulerMixin,
    UniPCMultistepScheduler,
)
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker

from sfe_core.assets import locate
from sfe_core.config.model import Config
from sfe_core.config.workspace import Workspace
from sfe_core.diffusion.families.known import family_of
from sfe_core.diffusion.handed_over import BASE_REMEDY, require_pipeline
from sfe_core.diffusion.loading import read_configs
from sfe_core.diffusion.lora_files import add_lora
from sfe_core.diffusion.unpacking import base_folder
from sfe_core.diffusion.weight_files import find_weights
from sfe_core.errors import RunError, UserError
from sfe_core.network_layout import has_bfloat16
from sfe_core.quiet import quiet_libraries
from sfe_core.sampling.drawing import prepare_pipeline
from sfe_core.sampling.settings import GUIDING_PARTS, DrawSettings, Variant, draw_settings

# Latents are not bounded by 1, so DDPM and DDIM must not clip their estimate of x0; that is their
# default where a base model's scheduler file leaves the key out.
_UNCLIPPED = {"clip_sample": False, "thresholding": False}

# What packaging mends in settings, of which no picture depends.
_IDLE = {"_name_or_path", "name_or_path", "dtype", "torch_dtype"}

SCHEDULERS: dict[str, tuple[type[SchedulerMixin], dict[str, Any]]] = {
    "ddpm": (DDPMScheduler, _UNCLIPPED),  # Ho et al. 2020
    "ddim": (DDIMScheduler, _UNCLIPPED),  # Song et al. 2021, eta 0
    "dpm-solver++": (DPMSolverMultistepScheduler, {"algorithm_type": "dpmsolver++"}),  # Lu 2022
    "unipc": (UniPCMultistepScheduler, {}),  # Zhao et al. 2023
}


def sampling_device() -> torch.device:
    """The first GPU, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def sampling_precision(device: torch.device, choice: str = "auto") -> torch.dtype:
    """The networks' type: as `sampling.precision` says, or chosen for the device.

    Half precision on a GPU, and on a CPU that has instructions for bfloat16: twice as fast there.
    On others it would be slower than float32.
    """
    if choice != "auto":
        return getattr(torch, choice)
    if device.type == "cuda":
        return torch.float16
    return torch.bfloat16 if has_bfloat16() else torch.float32


def pipeline_folder(variant: Variant, config: Config, package: Path | None) -> Path:
    """The folder whose weights draw `variant`: the base model's, or the package's.

    Args:
        package: may be None for the variant base.

    Raises:
        UserError: the base model is not on this machine, or the package cannot draw the variant.
    """
    if variant == "base":
        base = base_folder(locate(config.model.base))
        require_pipeline(base, "model.base", BASE_REMEDY)
        return base
    assert package is not None
    require_pipeline(package, "package", "run `sfe package-checkpoint`")
    if variant == "guided" and not any((package / part).is_dir() for part in GUIDING_PARTS):
        raise UserError(
            package,
            f"has no {' and no '.join(f'{part}/' for part in GUIDING_PARTS)}",
            "package a run that learnt either, or draw text alone",
        )
    return package


def series_settings(
    workspace: Workspace,
    device: torch.device,
    variant: Variant,
    source: Path,
    maps: tuple[str, ...] = (),
    units: bool = False,
    expressions: bool = False,
    fusion: bool = False,
) -> DrawSettings:
    """The settings of pictures that a workspace's sections draw on a device; see `draw_settings`.

    Args:
        source: the pipeline's folder.
    """
    config = workspace.config
    precision = sampling_precision(device, config.sampling.precision)
    return draw_settings(
        variant,
        source,
        config.sampling,
        config.model.resolution,
        str(precision).removeprefix("torch."),
        maps,
        workspace.generated / "weights.json",
        units,
        expressions,
        fusion,
    )


def draws_as_base(package: Path, config: Config) -> bool:
    """Whether a package draws a caption alone exactly as the base model, as it kept all its parts.

    That is so where nothing was learnt but what guides. Weights are compared byte by byte up to the
    first difference: written in another precision or in shards they count as others.
    """
    try:
        base = pipeline_folder("base", config, None)
    except UserError:
        return False  # it is not on this machine
    configs = read_configs(base)
    parts = sorted(family_of(configs).parts(configs), key=lambda part: part != "unet")
    return all(_same_part(base / part, package / part) for part in parts)


def _same_part(base: Path, package: Path) -> bool:
    """Whether a part has the same weights, if any, and the same settings and vocabulary."""
    weights, own = find_weights(base), find_weights(package)
    ours = own.paths if own else ()
    theirs = weights.paths if weights else ()
    texts = [path for path in package.glob("*") if path.suffix in (".json", ".txt")]
    return (
        [path.name for path in ours] == [path.name for path in theirs]
        and all(filecmp.cmp(*pair, shallow=False) for pair in zip(ours, theirs, strict=True))
        and all(_meaning(path) == _meaning(base / path.name) for path in texts)
    )


def _meaning(file: Path) -> Any:
    """What a settings file says but for `_IDLE`; None where it is not there."""
    if not file.is_file():
        return None
    text = file.read_text(encoding="utf-8")
    said = json.loads(text) if file.suffix == ".json" else text
    if isinstance(said, dict):
        return {name: value for name, value in said.items() if name not in _IDLE}
    return said


def load_pipeline(
    variant: Variant,
    folder: Path,
    scheduler: str,
    device: torch.device,
    precision: torch.dtype,
    safety_checker: bool = False,
    loras: Mapping[str, float] | None = None,
) -> DiffusionPipeline:
    """The pipeline of `variant` from `folder`, with the named sampler, ready to draw.

    Unless asked for the safety checker stays out: it blacks pictures out, and evaluation must see
    every one.

    Args:
        loras: path of each LoRA to be added to the weights, in float32, to its weight.

    Raises:
        UserError: a safety checker is asked for and the folder has none; a LoRA does not fit.
        RunError: the folder's files are torn or do not fit together.
    """
    family = family_of(read_configs(folder))
    kind = family.guided_pipeline if variant == "guided" else family.pipeline
    options = dict(family.guided_pipeline.own_options)
    if safety_checker and not (folder / "safety_checker").is_dir():
        raise UserError(
            "sampling.safety_checker", f"{folder} has no safety_checker/", "set it to false"
        )
    try:
        with quiet_libraries():
            if safety_checker:
                checker = StableDiffusionSafetyChecker.from_pretrained(
                    folder / "safety_checker", local_files_only=True
                )
                options |= {"safety_checker": checker, "requires_safety_checker": True}
            pipeline = kind.from_pretrained(folder, local_files_only=True, **options)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        remedy = "`sfe assets verify`" if variant == "base" else "package the checkpoint again"
        raise RunError(folder, f"cannot be loaded ({error})", remedy) from error
    pipeline.scheduler = make_scheduler(scheduler, pipeline.scheduler.config)
    for path, weight in (loras or {}).items():
        add_lora(pipeline, Path(path), weight)
    return prepare_pipeline(pipeline, device, precision)


def make_scheduler(name: str, base_config: Mapping[str, Any]) -> SchedulerMixin:
    """The sampler `name` over the betas, offsets and prediction type of `base_config`.

    Raises:
        UserError: an unknown name.
    """
    if name not in SCHEDULERS:
        raise UserError(
            "sfe.yaml: sampling.scheduler", f"{name!r} is unknown", f"use {', '.join(SCHEDULERS)}"
        )
    kind, fixed = SCHEDULERS[name]
    return kind.from_config(base_config, **fixed)
