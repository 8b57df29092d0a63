"""The other forms of a package, each read back and drawn with before it counts as made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from diffusers import DDIMScheduler, DiffusionPipeline
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPTokenizer

from sfe_core.diffusion.families.known import networks_of
from sfe_core.diffusion.guidance_files import EXPRESSIONS_FOLDER, UNITS_FOLDER
from sfe_core.diffusion.loading import read_configs
from sfe_core.errors import RunError, UserError
from sfe_core.packaging.lora import (
    DEFAULT_RANK,
    DIFFUSERS_FILE,
    KOHYA_FILE,
    Lora,
    Tensors,
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
from sfe_core.packaging.weights import read_weights
from sfe_core.quiet import quiet_libraries

LORA_FOLDER, STABLEFACE_FOLDER, SCHEDULER = "lora", "stableface", "scheduler"
EMBEDDINGS_FOLDER = f"{LORA_FOLDER}/embeddings"
_LORA_FILES = {"lora-diffusers": DIFFUSERS_FILE, "lora-kohya": KOHYA_FILE}
# Of 255: the same weights drawn twice on one device may round apart by this much.
_ROUNDING = 1


def require_extras(plan: PackagePlan, options: PackageOptions) -> None:
    """Refuse a form that models of the base's family, or what the run learnt, do not have.

    Raises:
        UserError: naming it.
    """
    if "stableface" in options.extras and not plan.family.publishing.has_stableface_layout:
        raise UserError(
            "--also stableface",
            f"the StableFace project's scripts do not know {plan.family.name}",
            "leave it out",
        )
    # A foreign folder's parts are not known yet; it always brings a UNet.
    units = UNITS_FOLDER in plan.folders or plan.fineface is not None
    alone = "action units" if units else "expressions"
    told = units or EXPRESSIONS_FOLDER in plan.folders
    if options.extras and told and plan.source is None and not _trained(plan):
        raise UserError(
            f"--also {options.extras[0]}",
            f"the run learnt {alone} alone, and other forms would hold the base"
            if plan.run
            else f"only {alone} are new, and other forms would hold the base",
            "leave it out",
        )


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
        made |= _single_file(package, plan, options, metadata, order, picture)
    layouts = [name for name in _LORA_FILES if name in options.extras]
    if layouts:
        made |= _loras(package, plan, options, metadata, order, layouts, picture)
    if layouts and (words := _new_words(plan)):
        made |= _embeddings(package, plan, words)
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
    plan: PackagePlan,
    options: PackageOptions,
    metadata: Mapping[str, str],
    order: TrialOrder,
    picture: Image.Image,
) -> dict[str, str]:
    family, path = plan.family, package / f"{plan.name}.safetensors"
    whole = load_checked(package, plan.name)
    schedule = read_schedule(package / SCHEDULER)
    write_single_file(whole, family, path, options.precision, metadata, tensor_marks(schedule))
    read_back = load_single_file(path, family, package)
    check_same_weights(whole, read_back, options.precision)
    drawn = draw_trial(read_back, order)
    apart = np.abs(np.asarray(drawn, int) - np.asarray(picture, int)).max()
    if apart > _ROUNDING:
        raise RunError(path.name, f"draws another picture (by {apart} of 255)", "report this")
    line = "all in one file in the original layout"
    if not is_standard(whole, family):
        line += (
            f"; this model has not the sizes of {family.name}, so only "
            "`from_single_file(…, config=<this folder>)` reads it"
        )
        return {path.name: line}
    if schedule.is_plain:
        return {path.name: f"{line}, for ComfyUI, A1111 and `from_single_file`"}
    config = f"{plan.name}.yaml" if family.publishing.has_ldm_config else None
    told = single_file_advice(schedule, config, family.publishing.comfy_reads_marks)
    made = {path.name: f"{line}; {told}"}
    if config is not None:
        write_config(package / config, schedule)
        made[config] = f"tells A1111 and Forge, beside {path.name}, what it predicts"
    return made


def _loras(
    package: Path,
    plan: PackagePlan,
    options: PackageOptions,
    metadata: Mapping[str, str],
    order: TrialOrder,
    layouts: Sequence[str],
    picture: Image.Image,
) -> dict[str, str]:
    lora = _extract(package, plan, options)
    layers = len(lora.tensors) // 2
    facts = {**metadata, "modelspec.architecture": f"{plan.family.publishing.architecture}/lora"}
    schedule = read_schedule(package / SCHEDULER)
    base = _base_as_told(package, plan, schedule)
    configured = is_standard(base, plan.family) and plan.family.publishing.has_ldm_config
    without = draw_trial(base, order)
    parts = " and ".join(_trained(plan))
    made, advice = {}, ""
    if not schedule.is_plain or schedule.asks_otherwise(read_schedule(plan.base / SCHEDULER)):
        config = f"{LORA_FOLDER}/base.yaml" if configured else None
        advice = f"; {lora_advice(schedule, config)}"
    for layout in layouts:
        file_name = _LORA_FILES[layout]
        path = package / LORA_FOLDER / file_name
        if layout == "lora-kohya":
            own = {**facts, **kohya_marks(schedule)}
            write_kohya_lora(lora, path, options.precision, own, plan.family, base.unet)
        else:
            write_diffusers_lora(lora, path, options.precision, facts)
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
    if advice and configured:
        write_config(package / LORA_FOLDER / "base.yaml", schedule)
        made[f"{LORA_FOLDER}/base.yaml"] = "tells A1111 and Forge what the base is to predict"
    return made


def _base_as_told(package: Path, plan: PackagePlan, schedule: Schedule) -> DiffusionPipeline:
    """The base as the card says to set it: with the package's schedule where that is another."""
    pipeline = load_checked(plan.base, "model.base")
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
    """The LoRA from the base to the package, of UNet and text encoders, as far as trained."""
    trained_rank = int(plan.history.config.get("train", {}).get("lora_rank") or 0)
    rank = options.lora_rank or trained_rank or DEFAULT_RANK
    kinds = networks_of(read_configs(package))
    with quiet_libraries():
        base, tuned = (
            {
                part: kinds[part].from_pretrained(folder / part, local_files_only=True).state_dict()
                for part in _trained(plan)
            }
            for folder in (plan.base, package)
        )
    for part, states in tuned.items():
        for name in new_token_tables(states, base[part]):
            states[name] = states[name][: len(base[part][name])]  # a LoRA holds no embeddings
    return extract_lora(base, tuned, rank)


def new_token_tables(tuned: Tensors, base: Tensors) -> list[str]:
    """Names of a text encoder's tables of tokens that have more rows than the base's."""
    return [
        name
        for name in tuned.keys() & base.keys()
        if tuned[name].ndim == 2
        and tuned[name].shape[1:] == base[name].shape[1:]
        and len(tuned[name]) > len(base[name])
    ]


def _new_words(plan: PackagePlan) -> list[str]:
    """The words that the run taught the tokenizer, in the order of their ids."""
    if "tokenizer" not in plan.folders:
        return []
    tuned, base = (
        CLIPTokenizer.from_pretrained(folder, local_files_only=True).get_vocab()
        for folder in (plan.folders["tokenizer"], plan.base / "tokenizer")
    )
    return sorted(tuned.keys() - base.keys(), key=tuned.__getitem__)


def _embeddings(package: Path, plan: PackagePlan, words: Sequence[str]) -> dict[str, str]:
    """Write each new word's embedding as a file that diffusers, ComfyUI and A1111 load."""
    states, base = (read_weights(folder / "text_encoder") or {} for folder in (package, plan.base))
    (table,) = new_token_tables(states, base)
    rows = states[table][-len(words) :].float()
    folder = package / EMBEDDINGS_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for word, row in zip(words, rows, strict=True):
        save_file({"emb_params": row[None].contiguous()}, folder / f"{word}.safetensors")
    line = "what the LoRA's new words mean, for `load_textual_inversion(…, token=<file's name>)`"
    return {f"{EMBEDDINGS_FOLDER}/": line}


def _trained(plan: PackagePlan) -> list[str]:
    """The UNet and the text encoders that the run trained."""
    return [part for part in ("unet", *plan.family.text_encoders) if part in plan.folders]
