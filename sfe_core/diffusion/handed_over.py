"""What was handed over where a pipeline folder is wanted, and what to do with it, in words."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from sfe_core.diffusion.guidance_files import GUIDANCE_FOLDER
from sfe_core.errors import UserError
from sfe_core.file_kinds import HEAD_BYTES, SAFETENSORS, TORCH, kind_of
from sfe_core.wording import listed

INDEX = "model_index.json"
BASE_REMEDY = "give a folder or one file of Stable Diffusion 1.5 or XL, or see `sfe assets list`"
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")
_PIPELINES_NAMED = 5
_MOST_HEADER = 100_000_000  # bytes, the limit of the safetensors library itself
# Parts of tensors' names that only LoRAs and their kin (LoHa, LoKr, …) have.
_LORA = ("lora_", ".lora", "_lora.", "hada_", "lokr_", "oft_")
# Beginnings of tensors' names, the first that fits decides.
_STARTS = (
    ("control_model.", "a ControlNet"),
    ("controlnet_cond_embedding.", "a ControlNet"),
    ("model.diffusion_model.joint_blocks.", "Stable Diffusion 3 in one file"),
    ("joint_blocks.", "Stable Diffusion 3 in one file"),
    ("model.diffusion_model.double_blocks.", "FLUX in one file"),
    ("double_blocks.", "FLUX in one file"),
    ("conditioner.", "a whole model in one file (SDXL)"),
    ("cond_stage_model.model.", "a whole model in one file (Stable Diffusion 2)"),
    ("cond_stage_model.transformer.", "a whole model in one file (Stable Diffusion 1)"),
    ("model.diffusion_model.", "a UNet in one file, without VAE and text encoder"),
    ("down_blocks.", "a UNet alone"),
    ("text_model.", "a text encoder alone"),
    ("embeddings.token_embedding.", "a text encoder alone"),
    ("first_stage_model.", "a VAE alone"),
    ("decoder.", "a VAE alone"),
    ("emb_params", "a textual inversion"),
)
_CONVERTIBLE = ("(SDXL)", "(Stable Diffusion 1)")
_CONVERT = (
    "here sfe reads folders: write one with diffusers' "
    "`StableDiffusionPipeline.from_single_file(FILE).save_pretrained(FOLDER)` and give FOLDER"
)


def require_pipeline(path: Path, where: str, remedy: str) -> None:
    """See that `path` is the folder of a diffusers pipeline.

    Args:
        path: what was handed over.
        where: the field or option it came from.
        remedy: what to do if nothing better is known.

    Raises:
        UserError: it is not; says what it is, and what to do with that.
    """
    path = Path(path)
    if os.path.isfile(path / INDEX):  # False too where the folder may not be read
        return
    if not os.path.lexists(path):
        raise UserError(f"{where}: {path}", "does not exist", remedy)
    kind, step = what_it_is(path)
    raise UserError(f"{where}: {path}", f"is {kind}, not a pipeline folder", step or remedy)


def what_it_is(path: Path) -> tuple[str, str]:
    """What a path that exists is, with its article, and the next step; "" when none is known."""
    if not os.path.exists(path):
        return f"a link to {os.path.realpath(path)}, which is gone", "mount or restore that"
    try:
        return _folder(path) if path.is_dir() else _file(path)
    except OSError as error:
        return f"unreadable ({error.strerror})", "see who may read it"


def _file(path: Path) -> tuple[str, str]:
    # A part's weights lie one folder deep, a package's other forms as well.
    home = next((folder for folder in list(path.parents)[:2] if (folder / INDEX).is_file()), None)
    kind, step = _file_alone(path)
    if home is not None:
        made = "" if kind == "a LoRA" else " of a pipeline"
        return f"{kind}{made}", f"give the folder {home}"
    return kind, step


def _file_alone(path: Path) -> tuple[str, str]:
    if not path.is_file():
        return "neither a file nor a folder", ""
    with path.open("rb") as file:
        kind = kind_of(file.read(HEAD_BYTES), path.suffix)
    if kind == SAFETENSORS:
        return _safetensors(path)
    if kind == TORCH or kind.name == "a Python pickle":
        return f"{kind.name} (a model or a part of one)", _CONVERT
    if "archive" in kind.name:
        return kind.name, "unpack it and give the folder inside that holds model_index.json"
    if path.name == INDEX:
        return "a pipeline's list of parts", f"give the folder {path.parent}"
    return kind.name, ""


def _safetensors(path: Path) -> tuple[str, str]:
    """What tensors a safetensors file holds, told by its header alone."""
    names, notes = _header(path)
    if names is None:
        return "a safetensors file that is torn", "copy or download it again"
    if "ss_network_module" in notes or any(mark in name for name in names for mark in _LORA):
        return (
            "a LoRA",
            "it changes a base model: draw with a package and `sfe generate --lora FILE`, or with "
            "its base in ComfyUI, in A1111 or by diffusers' `load_lora_weights`",
        )
    for start, kind in _STARTS:
        if any(name.startswith(start) for name in names):
            return kind, _CONVERT if kind.endswith(_CONVERTIBLE) else ""
    return "a safetensors file of unknown tensors", ""


def _header(path: Path) -> tuple[list[str] | None, dict[str, str]]:
    """Names of tensors and the metadata of a safetensors file; None where it is torn."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        text = file.read(min(size, _MOST_HEADER))
    try:
        header = json.loads(text)
        notes = header.pop("__metadata__", None) or {}
        ends = [one["data_offsets"][1] for one in header.values()]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return None, {}
    whole = path.stat().st_size >= 8 + size + max(ends, default=0)
    return (list(header), notes) if whole else (None, {})


def _folder(path: Path) -> tuple[str, str]:
    resolved = path.resolve()
    match = _CHECKPOINT.fullmatch(resolved.name)
    package = "run `sfe package-checkpoint --run {}` and give that package"
    if match and any(path.glob("unet*/config.json")):
        ask = f"{resolved.parent.name} --step {match[1]}"
        return "a training checkpoint", package.format(ask)
    if any(_CHECKPOINT.fullmatch(one.name) for one in path.glob("checkpoint-*")):
        return "the folder of a training run", package.format(resolved.name)
    if any(path.glob("*/checkpoint-*/unet*/config.json")):
        return "a folder of training runs", package.format("NAME")
    if (path / "sfe.yaml").is_file():
        found = _pipelines(path / "packaged")
        step = f"give one of its packages: {found}" if found else "run `sfe package-checkpoint`"
        return "a workspace", step
    if found := _pipelines(path):
        return "a folder of pipelines", f"give one of them: {found}"
    if (path.parent / INDEX).is_file():
        return f"the {resolved.name} of a pipeline", f"give the folder {path.parent}"
    if any(path.glob("diffusion_pytorch_model*")) and (path / GUIDANCE_FOLDER).is_dir():
        return "in the StableFace layout", f"run `sfe package-checkpoint --from {path}`"
    if any(path.glob("diffusion_pytorch_model*")):
        return "one part of a pipeline", ""
    files = sorted(one for one in path.glob("*") if one.suffix in (".safetensors", ".ckpt"))
    if files:
        kind, step = _file_alone(files[0])
        return f"a folder with {files[0].name}, {kind}", step
    empty = not any(path.iterdir())
    return "an empty folder" if empty else "a folder without model_index.json", ""


def _pipelines(folder: Path) -> str:
    """The first pipelines below a folder, as a list in words."""
    found = sorted(path.parent.name for path in folder.glob(f"*/{INDEX}"))
    found = [name for name in found if not name.startswith(".")]
    return listed(found, _PIPELINES_NAMED)
