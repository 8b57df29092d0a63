"""The other forms of a package, each read back and drawn with before it counts as made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
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
from sfe_core.packaging.single_file import (
    check_same_weights,
    is_standard,
    load_single_file,
    write_single_file,
)
from sfe_core.packaging.stableface_layout import check_stableface, write_stableface
from sfe_core.packaging.trial import TrialOrder, draw_trial, load_checked
from sfe_core.quiet import quiet_libraries

LORA_FOLDER, STABLEFACE_FOLDER = "lora", "stableface"
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
        made |= _loras(package, plan, options, metadata, order, layouts)
    if "stableface" in options.extras:
        write_stableface(package, package / STABLEFACE_FOLDER)
        check_stableface(package, package / STABLEFACE_FOLDER)
        line = "UNet and encoders in the layout of the StableFace project"
        if "text_encoder" in plan.folders:
            line += ", which has no place for the text encoder that was trained with them"
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
    write_single_file(whole, path, options.precision, metadata)
    read_back = load_single_file(path, package)
    check_same_weights(whole, read_back, options.precision)
    drawn = draw_trial(read_back, order)
    apart = np.abs(np.asarray(drawn, int) - np.asarray(picture, int)).max()
    if apart > _ROUNDING:
        raise RunError(path.name, f"draws another picture (by {apart} of 255)", "report this")
    line = "all in one file in the original layout, for ComfyUI, A1111 and `from_single_file`"
    if not is_standard(whole):
        line = (
            "all in one file in the original layout; this model has not Stable Diffusion 1.x's "
            "sizes, so only `from_single_file(…, config=<this folder>)` reads it"
        )
    return {path.name: line}


def _loras(
    package: Path,
    plan: PackagePlan,
    options: PackageOptions,
    metadata: Mapping[str, str],
    order: TrialOrder,
    layouts: list[str],
) -> dict[str, str]:
    lora = _extract(package, plan, options)
    layers = len(lora.tensors) // 2
    facts = {**metadata, "modelspec.architecture": "stable-diffusion-v1/lora"}
    without = draw_trial(load_checked(StableDiffusionPipeline, plan.base, "model.base"), order)
    parts = " and ".join(part for part in ("unet", "text_encoder") if part in plan.folders)
    made = {}
    for layout in layouts:
        file_name, write = _LORA_WRITERS[layout]
        path = package / LORA_FOLDER / file_name
        write(lora, path, options.precision, facts)
        pipeline = load_checked(StableDiffusionPipeline, plan.base, "model.base")
        load_lora(pipeline, path, layers)
        if not np.any(np.asarray(draw_trial(pipeline, order)) != np.asarray(without)):
            raise RunError(path.name, "does not change what the base draws", "train for longer")
        made[f"{LORA_FOLDER}/{file_name}"] = (
            f"LoRA of rank {lora.rank} in the {layout.removeprefix('lora-')} layout, for the base "
            f"model; carries {100 * lora.carried:.1f} % of the squared change of {parts}"
        )
    return made


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
