"""Weight files of a pipeline part: read in any form, written in any precision, whole or sharded."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from huggingface_hub import save_torch_state_dict
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from sfe_core.errors import RunError, UserError
from sfe_core.files import atomic_path

Precision = Literal["float32", "fp16", "bf16"]
PRECISIONS: dict[Precision, torch.dtype] = {
    "float32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
}
# Names that diffusers and transformers give their weights.
STEMS = ("diffusion_pytorch_model", "model", "pytorch_model")
# Number types of safetensors headers, where they are not float32.
_NUMBERS = {"F16": "float16", "BF16": "bfloat16", "F64": "float64", "I64": "int64", "I32": "int32"}
_LENGTH_BYTES, _ALIGNMENT = 8, 8


def read_weights(folder: Path) -> dict[str, torch.Tensor] | None:
    """The tensors of a diffusers or transformers folder; None where it holds no weights.

    Plain safetensors are preferred, then shards, then a .bin of plain tensors.

    Raises:
        RunError: a file is torn, a shard is missing, or a .bin holds more than tensors.
    """
    for stem in STEMS:
        whole = folder / f"{stem}.safetensors"
        if whole.is_file():
            return read_tensors(whole)
        index = folder / f"{stem}.safetensors.index.json"
        if index.is_file():
            names = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
            tensors: dict[str, torch.Tensor] = {}
            for shard in sorted(set(names.values())):
                tensors |= read_tensors(folder / shard)
            return tensors
    for stem in STEMS:
        if (folder / f"{stem}.bin").is_file():
            return read_tensors(folder / f"{stem}.bin")
    return None


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of one .safetensors or .bin file, on the CPU; `module.` prefixes are dropped.

    Raises:
        RunError: it is missing, torn, or holds something else.
    """
    remedy = "restore it from where it came"
    try:
        if path.suffix == ".safetensors":
            tensors = load_file(path)
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torn pickles fail in many ways
        raise RunError(path, f"cannot be read ({type(error).__name__}: {error})", remedy) from error
    if not isinstance(tensors, dict) or not all(
        isinstance(tensor, torch.Tensor) for tensor in tensors.values()
    ):
        raise RunError(path, "is not a state dict of tensors", remedy)
    return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}


def weight_bytes(folder: Path, dtype: torch.dtype | None = None) -> int:
    """Bytes of a folder's weights, in `dtype` or as stored; 0 without any.

    Safetensors are asked for their header alone; files of other forms count as large as they are.
    """
    plain = [path for path in folder.glob("*.safetensors") if path.name.count(".") == 1]
    total = 0
    for path in plain:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118
                values = file.get_slice(name)
                stored = getattr(torch, _NUMBERS.get(values.get_dtype(), "float32"))
                total += math.prod(values.get_shape()) * (dtype or stored).itemsize
    if plain:
        return total
    others = (path for pattern in ("*.bin", "*.pth") for path in folder.glob(pattern))
    return sum(path.stat().st_size for path in others)


def write_weights(
    folder: Path,
    tensors: Mapping[str, torch.Tensor],
    stem: str,
    precision: Precision | None = None,
    shard_size: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write `<stem>.safetensors` in `folder`, or its shards and their index.

    Args:
        precision: of floating-point tensors; None leaves each as it is.
        shard_size: the most that one file holds, such as 2GB; None = one file.
        metadata: for the files' headers.

    Raises:
        UserError: a size that cannot be read.
    """
    cast_tensors = dict(tensors) if precision is None else cast(tensors, precision)
    try:
        save_torch_state_dict(
            {name: tensor.contiguous() for name, tensor in cast_tensors.items()},
            folder,
            filename_pattern=f"{stem}{{suffix}}.safetensors",
            max_shard_size=shard_size or 2**60,
            metadata={"format": "pt", **(metadata or {})},
        )
    except ValueError as error:
        raise UserError("--max-shard-size", f"{shard_size!r} ({error})", "give 2GB") from error
    if metadata:
        for shard in folder.glob(f"{stem}-*-of-*.safetensors"):
            stamp(shard, metadata)  # the library puts the metadata into the index alone


def cast(tensors: Mapping[str, torch.Tensor], precision: Precision) -> dict[str, torch.Tensor]:
    """The tensors with those of floating point in `precision`."""
    dtype = PRECISIONS[precision]
    return {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
    }


def stem_of(folder: Path) -> str:
    """`model` for a transformers part, else `diffusion_pytorch_model`."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return "diffusion_pytorch_model" if "_diffusers_version" in config else "model"


def stamp(path: Path, metadata: Mapping[str, str]) -> None:
    """Add `metadata` to a safetensors file's header; its tensors are copied, not read.

    Raises:
        RunError: it is not a safetensors file.
    """
    try:
        with open(path, "rb") as source:
            length = int.from_bytes(source.read(_LENGTH_BYTES), "little")
            header = json.loads(source.read(length))
            header["__metadata__"] = {**header.get("__metadata__", {}), **metadata}
            text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
            text += b" " * (-len(text) % _ALIGNMENT)
            with atomic_path(path) as partial, open(partial, "wb") as target:
                target.write(len(text).to_bytes(_LENGTH_BYTES, "little") + text)
                shutil.copyfileobj(source, target, 1 << 22)
    except (ValueError, SafetensorError, MemoryError) as error:
        raise RunError(path, f"is not a safetensors file ({error})", "package again") from error
