"""A pipeline folder put together from a base model and a checkpoint, file by file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sfe_core.assets import locate
from sfe_core.config.portable import is_place
from sfe_core.diffusion.handed_over import BASE_REMEDY, INDEX, require_pipeline
from sfe_core.diffusion.hashing import is_base
from sfe_core.diffusion.unpacking import base_folder
from sfe_core.errors import UserError
from sfe_core.files import sha256_file, write_json
from sfe_core.packaging.options import PackageOptions
from sfe_core.packaging.weights import read_weights, stamp, stem_of, write_weights
from sfe_core.training.engine.checkpoints import CheckpointMeta

_CHECKER, _SCHEDULER = "safety_checker", "scheduler"
_WEIGHT_ENDINGS = (".safetensors", ".bin", ".ckpt", ".pt", ".msgpack", ".h5", ".onnx")


def pipeline_parts(base: Path) -> list[str]:
    """The sub-folders that the base's model_index.json names, in its order.

    Raises:
        UserError: `base` is no diffusers pipeline, or a part it names is not there.
    """
    require_pipeline(base, "model.base", BASE_REMEDY)
    index = _read_index(base)
    parts = [
        name for name, value in index.items() if isinstance(value, list) and value[0] is not None
    ]
    for part in parts:
        if not (base / part).is_dir():
            raise UserError(
                f"model.base: {base / part}", "is missing", "restore the base model's folder"
            )
    return parts


def find_base(configured: str, meta: CheckpointMeta) -> tuple[str, Path]:
    """Name and folder of the base model that a run was trained from.

    It is looked for under the name the run used, then under the name sfe.yaml uses now (a folder
    may have moved), and must be the very same model: a fine-tuned UNet works with no other VAE or
    text encoder.

    Raises:
        UserError: it is at neither place, is incomplete, or is another model now.
    """
    problem: UserError | None = None
    for name in dict.fromkeys((meta.base, configured)):
        try:
            base = base_folder(locate(name))
            pipeline_parts(base)
        except UserError as error:
            problem = problem or error
            continue
        if is_base(base, meta.base_sha256):
            return name, base
        problem = UserError(
            f"model.base: {base}",
            "is not the model the run was trained from (another hash)",
            "restore that one, or set model.base to where it is",
        )
    assert problem is not None
    raise problem


def assemble(
    base: Path,
    replaced: dict[str, Path],
    target: Path,
    options: PackageOptions | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Copy the base pipeline to the new folder `target`, with some parts from elsewhere.

    Args:
        base: folder of a diffusers pipeline.
        replaced: part to the folder that stands in for the base's (or is added:
            guidance_encoder, action_units and expressions, which model_index.json does not name, so
            that plain diffusers ignores them).
        target: must not exist.
        options: precision and size of the weight files, and whether the safety checker comes along.
        metadata: for the headers of the replaced parts' weight files.
    """
    options, metadata = options or PackageOptions(), metadata or {}
    target.mkdir(parents=True)
    parts = pipeline_parts(base)
    if not options.safety_checker and _CHECKER in parts:
        parts.remove(_CHECKER)
    _write_index(base, target, parts, replaced.get(_SCHEDULER))
    for part in dict.fromkeys((*parts, *replaced)):
        own = replaced.get(part)
        _copy_part(own or base / part, target / part, options, metadata if own else {})
    for path in (target / INDEX, *target.rglob("*config.json")):
        tidy_config(path)


def file_hashes(folder: Path) -> dict[str, str]:
    """Hex SHA-256 of every file below `folder`, by its path with `/`."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in files}


def _read_index(base: Path) -> dict[str, Any]:
    try:
        index = json.loads((base / INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"model.base: {base}",
            f"has no readable {INDEX} ({error})",
            BASE_REMEDY,
        ) from error
    return index


def tidy_config(config: Path) -> None:
    """Mend what loaders and readers of a part's configuration would stumble over."""
    values = json.loads(config.read_text(encoding="utf-8"))
    if not isinstance(values, dict):
        return
    changed = dict(values)
    # transformers loads a part in the precision its config names, diffusers in float32: a base
    # stored in half precision would come back mixed, and could not draw.
    changed |= dict.fromkeys({"dtype", "torch_dtype"} & values.keys(), "float32")
    # Where the libraries found a part when they saved it is nobody's business.
    for name in ("_name_or_path", "name_or_path"):
        if is_place(str(values.get(name, ""))):
            del changed[name]
    if changed != values:
        write_json(config, changed)


def _write_index(base: Path, target: Path, parts: list[str], scheduler: Path | None) -> None:
    """model_index.json: the base's own, unless the checker stays out or the scheduler changes."""
    index = _read_index(base)
    own = dict(index)
    if _CHECKER not in parts and isinstance(index.get(_CHECKER), list) and index[_CHECKER][0]:
        index |= {_CHECKER: [None, None], "requires_safety_checker": False}
    if scheduler is not None:
        config = json.loads((scheduler / "scheduler_config.json").read_text(encoding="utf-8"))
        index[_SCHEDULER] = ["diffusers", config["_class_name"]]
    if index == own:
        shutil.copyfile(base / INDEX, target / INDEX)
    else:
        write_json(target / INDEX, index)


def _copy_part(
    source: Path, target: Path, options: PackageOptions, metadata: Mapping[str, str]
) -> None:
    """One part: its weights as asked for, every other file as it is."""
    target.mkdir()
    tensors = read_weights(source) if options.converts else None
    if tensors is None:
        _copy_files(source, target)
        for path in target.glob("*.safetensors") if metadata else ():
            stamp(path, metadata)
        return
    for path in sorted(source.iterdir()):
        if path.is_file() and not path.name.endswith((*_WEIGHT_ENDINGS, ".index.json")):
            shutil.copyfile(path, target / path.name)
    stem = stem_of(source)
    write_weights(target, tensors, stem, options.precision, options.shard_size, metadata)


def _copy_files(source: Path, target: Path) -> None:
    # Published folders repeat the same weights as .bin, .fp16.safetensors and so on; where the
    # plain safetensors file is there, it is the only one that diffusers reads by default.
    names = {path.name for path in source.iterdir() if path.is_file()}
    plain = {name for name in names if name.endswith(".safetensors") and name.count(".") == 1}
    for name in sorted(names):
        if not plain or name in plain or not name.endswith(_WEIGHT_ENDINGS):
            shutil.copyfile(source / name, target / name)
