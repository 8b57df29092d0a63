"""The other forms of a package, each read back and drawn with before it counts as made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from transformers import CLIPTextModel

from sfe_core.errors import RunError
from sfe_core.packaging.lora import (
    DEFAULT_RANK,
    DIFFUSERS_FILE,
    KOHYA_FILE,
    Lora,
    extract_lora,
    load_lora,
    write_diffusers_lora,
    write_kohya_lora,
)
from sfe_core.packaging.options import PackageOptions
from sfe_core.packaging.plan import PackagePlan
from sfe_core.packaging.prediction_marks import (
    Schedule,
    kohya_marks,
    lora_advice,
    read_schedule,
    single_file_advice,
    tensor_marks,
    write_config,
)
from sfe_core.packaging.single_file import (
    check_same_weights,
    is_standard,
    load_single_file,
    write_single_file,
)
from sfe_core.packaging.stableface_layout import check_stableface, write_stableface
from sfe_core.packaging.trial import TrialOrder, draw_trial, load_checked
from sfe_core.quiet import quiet_libraries

LORA_FOLDER, STABLEFACE_FOLDER, SCHEDULER = "lora", "stableface", "scheduler"
_LORA_WRITERS = {
    "lora-diffusers": (DIFFUSERS_FILE, write_diffusers_lora),
    "lora-kohya": (KOHYA_FILE, write_kohya_lora),
}
# Of 255: the same weights drawn twice on one device may round apart by this much.
_ROUNDING = 1


def write_extras(
    package: Path,
    plan: PackagePlan,
    options: PackageOptions,
    metadata: Mapping[str, str],
    order: TrialOrder,
    picture: Image.Image,
) -> dict[str, str]:
    """Write what `options.extras` asks for into the package's folder, and try each.

    Args:
        metadata: for the headers of safetensors files.
        order: what to draw.
        picture: what the package itself drew of it.

    Returns:
        File or folder in the package, to one line about it.

    Raises:
        UserError: the model has no such form.
        RunError: what was written does not read back the same, or does not draw the same.
    """
    made: dict[str, str] = {}
    if "single-file" in options.extras:
        made |= _single_file(package, plan.name, options, metadata, order, picture)
    layouts = [name for name in _LORA_WRITERS if name in options.extras]
    if layouts:
        made |= _loras(package, plan, options, metadata, order, layouts, picture)
    if "stableface" in options.extras:
        write_stableface(package, package / STABLEFACE_FOLDER)
        check_stableface(package, package / STABLEFACE_FOLDER)
        line = "UNet and encoders in the layout of the StableFace project"
        if "text_encoder" in plan.folders:
            line += ", which has no place for the text encoder that was trained with them"
        schedule = read_schedule(package / SCHEDULER)
        if "scheduler" in plan.folders and not schedule.is_plain:
            line += f"; it tells nobody to predict {schedule.words}: set that where it is drawn"
        made[f"{STABLEFACE_FOLDER}/"] = line
    return made


def _single_file(
    package: Path,
    name: str,
    options: PackageOptions,
    metadata: Mapping[str, str],
    order: TrialOrder,
    picture: Image.Image,
) -> dict[str, str]:
    path = package / f"{name}.safetensors"
    whole = load_checked(StableDiffusionPipeline, package, name)
    schedule = read_schedule(package / SCHEDULER)
    write_single_file(whole, path, options.precision, metadata, tensor_marks(schedule))
    read_back = load_single_file(path, package)
    check_same_weights(whole, read_back, options.precision)
    drawn = draw_trial(read_back, order)
    apart = np.abs(np.asarray(drawn, int) - np.asarray(picture, int)).max()
    if apart > _ROUNDING:
        raise RunError(path.name, f"draws another picture (by {apart} of 255)", "report this")
    line = "all in one file in the original layout"
    if not is_standard(whole):
        line += (
            "; this model has not Stable Diffusion 1.x's sizes, so only "
            "`from_single_file(…, config=<this folder>)` reads it"
        )
        return {path.name: line}
    if schedule.is_plain:
        return {path.name: f"{line}, for ComfyUI, A1111 and `from_single_file`"}
    config = f"{name}.yaml"
    write_config(package / config, schedule)
    return {
        path.name: f"{line}; {single_file_advice(schedule, config)}",
        config: f"tells A1111 and Forge, beside {path.name}, what it predicts",
    }


def _loras(
    package: Path,
    plan: PackagePlan,
    options: PackageOptions,
    metadata: Mapping[str, str],
    order: TrialOrder,
    layouts: list[str],
    picture: Image.Image,
) -> dict[str, str]:
    lora = _extract(package, plan, options)
    layers = len(lora.tensors) // 2
    facts = {**metadata, "modelspec.architecture": "stable-diffusion-v1/lora"}
    schedule = read_schedule(package / SCHEDULER)
    base = _base_as_told(package, plan, schedule)
    standard = is_standard(base)
    without = draw_trial(base, order)
    parts = " and ".join(part for part in ("unet", "text_encoder") if part in plan.folders)
    made, advice = {}, ""
    if not schedule.is_plain or schedule.asks_otherwise(read_schedule(plan.base / SCHEDULER)):
        config = f"{LORA_FOLDER}/base.yaml" if standard else None
        advice = f"; {lora_advice(schedule, config)}"
    for layout in layouts:
        file_name, write = _LORA_WRITERS[layout]
        path = package / LORA_FOLDER / file_name
        own = kohya_marks(schedule) if layout == "lora-kohya" else {}
        write(lora, path, options.precision, {**facts, **own})
        pipeline = _base_as_told(package, plan, schedule)
        load_lora(pipeline, path, layers)
        drawn = draw_trial(pipeline, order)
        if not np.any(np.asarray(drawn) != np.asarray(without)):
            raise RunError(path.name, "does not change what the base draws", "train for longer")
        made[f"{LORA_FOLDER}/{file_name}"] = (
            f"LoRA of rank {lora.rank} in the {layout.removeprefix('lora-')} layout, for the base "
            f"model; carries {100 * lora.carried:.1f} % of the squared change of {parts}"
            f"{_nearness(drawn, without, picture)}{advice}"
        )
    if advice and standard:
        write_config(package / LORA_FOLDER / "base.yaml", schedule)
        made[f"{LORA_FOLDER}/base.yaml"] = "tells A1111 and Forge what the base is to predict"
    return made


def _base_as_told(package: Path, plan: PackagePlan, schedule: Schedule) -> StableDiffusionPipeline:
    """The base as the card says to set it: with the package's schedule where that is another."""
    pipeline = load_checked(StableDiffusionPipeline, plan.base, "model.base")
    if schedule.asks_otherwise(read_schedule(plan.base / SCHEDULER)):
        with quiet_libraries():
            pipeline.scheduler = DDIMScheduler.from_pretrained(package / SCHEDULER)
    return pipeline


def _nearness(drawn: Image.Image, without: Image.Image, wanted: Image.Image) -> str:
    """How far from the package's picture the LoRA draws, where that is no nearer than without."""
    far, before = (
        np.abs(np.asarray(one, float) - np.asarray(wanted, float)).mean()
        for one in (drawn, without)
    )
    if far < before:
        return ""
    return (
        f"; too little: its picture is {far:.1f} of 255 from this package's, the base's without it "
        f"{before:.1f}, so give a larger --lora-rank or use the package itself"
    )


def _extract(package: Path, plan: PackagePlan, options: PackageOptions) -> Lora:
    """The LoRA from the base to the package, of UNet and, where it was trained, text encoder."""
    trained_rank = int(plan.history.config.get("train", {}).get("lora_rank") or 0)
    rank = options.lora_rank or trained_rank or DEFAULT_RANK
    networks = {"unet": UNet2DConditionModel}
    if "text_encoder" in plan.folders:
        networks["text_encoder"] = CLIPTextModel
    with quiet_libraries():
        base, tuned = (
            {
                part: kind.from_pretrained(folder / part, local_files_only=True).state_dict()
                for part, kind in networks.items()
            }
            for folder in (plan.base, package)
        )
    return extract_lora(base, tuned, rank)
