"""The weights in a folder of diffusers or transformers, whatever form their files have.

That is .safetensors or .bin, in one file or in shards, of full precision or of the `fp16` variant
alone; where several are there, in this order of preference.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers import PreTrainedModel

from sfe_core.errors import RunError
from sfe_core.wording import listed

# Names that diffusers and transformers give their weights.
STEMS = ("diffusion_pytorch_model", "model", "pytorch_model")
VARIANT = "fp16"
_NAMED = 3
# Layers of a VAE's attention, as diffusers called them before 0.17.
_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_REMEDY = "restore it from where it came"
_FORMS = [(ending, variant) for ending in (".safetensors", ".bin") for variant in ("", VARIANT)]


@dataclass(frozen=True)
class WeightFiles:
    """The files that hold one network.

    Attributes:
        paths: one, or every shard.
        variant: fp16, where only that is there; else None.
    """

    paths: tuple[Path, ...]
    variant: str | None = None

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name of every tensor and its shape, from the files' headers.

        Raises:
            RunError: a file is missing or torn, or holds something else than tensors.
        """
        return {name: shape for path in self.paths for name, shape in _shapes(path).items()}

    def tensors(self, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        """Every tensor whose name begins so, with its name, one after the other, on the CPU.

        Raises:
            RunError: as `shapes`.
        """
        for path in self.paths:
            if path.suffix == ".safetensors":
                with _open(path) as file:
                    for name in file.keys():  # noqa: SIM118
                        if name.startswith(prefix):
                            yield name, file.get_tensor(name)
            else:
                stored = _unpickled(path).items()
                yield from ((name, value) for name, value in stored if name.startswith(prefix))

    def notes(self) -> dict[str, str]:
        """What the header of the (first) file says beside its tensors."""
        if self.paths[0].suffix != ".safetensors":
            return {}
        with _open(self.paths[0]) as file:
            return file.metadata() or {}


def find_weights(folder: Path) -> WeightFiles | None:
    """The weight files of a part's folder; None where there are none.

    Raises:
        RunError: the list of shards is unreadable.
    """
    for ending, variant in _FORMS:
        for stem in STEMS:
            middle = f".{variant}" if variant else ""
            whole = folder / f"{stem}{middle}{ending}"
            if whole.is_file():
                return WeightFiles((whole,), variant or None)
            # `model.safetensors.index.fp16.json` to diffusers, `model.fp16.safetensors.index.json`
            # to whom wrote it before.
            for index in (f"{stem}{ending}.index{middle}.json", f"{whole.name}.index.json"):
                if (folder / index).is_file():
                    return WeightFiles(_shards(folder / index), variant or None)
    return None


def empty_network(
    kind: type[ConfigMixin] | type[PreTrainedModel], config: Mapping[str, Any]
) -> nn.Module:
    """A network of diffusers or transformers without memory for its weights."""
    with torch.device("meta"):
        if not issubclass(kind, PreTrainedModel):
            return kind.from_config(dict(config))  # type: ignore[union-attr]  # diffusers is untyped
        assert kind.config_class is not None
        return kind(kind.config_class.from_dict(dict(config)))


def compare_shapes(
    wanted: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]
) -> str | None:
    """How tensors differ from those wanted, in words; None where they do not."""
    wrong = [f"no {name}" for name in wanted if name not in found]
    wrong += [f"unknown {name}" for name in found if name not in wanted]
    wrong += [
        f"{name} is {list(found[name])}, not {list(shape)}"
        for name, shape in wanted.items()
        if name in found and found[name] != shape
    ]
    return listed(wrong, _NAMED) if wrong else None


def misfit(
    folder: Path, kind: type[ConfigMixin] | type[PreTrainedModel], config: Mapping[str, Any]
) -> str | None:
    """How the weights in a part's folder differ from what its class needs, in words; or None.

    Only headers are read, and no network is built.

    Raises:
        RunError: a file is missing or torn.
    """
    files = find_weights(folder)
    if files is None:
        return "no weights (.safetensors or .bin)"
    state = empty_network(kind, config).state_dict()
    wanted = {plain_name(name): tuple(tensor.shape) for name, tensor in state.items()}
    found = {plain_name(name): shape for name, shape in files.shapes().items()}
    return compare_shapes(wanted, {name: found[name] for name in found if is_read(name)})


def plain_name(name: str) -> str:
    """A tensor's name whichever version of diffusers or transformers wrote it."""
    layer, dot, end = name.removeprefix("text_model.").rpartition(".")
    before, _, last = layer.rpartition(".")
    if ".attentions." in before and last in _OLD_ATTENTION:
        layer = f"{before}.{_OLD_ATTENTION[last]}"
    return f"{layer}{dot}{end}"


def is_read(name: str) -> bool:
    """Whether a tensor is one that networks learn, not a list of positions as once was saved."""
    return not name.endswith("position_ids")


def _shards(index: Path) -> tuple[Path, ...]:
    try:
        names = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(index, f"cannot be read ({error})", _REMEDY) from error
    return tuple(index.parent / name for name in sorted(set(names)))


def _open(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise RunError(path, f"cannot be read ({error})", _REMEDY) from error


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    if path.suffix != ".safetensors":
        return {name: tuple(tensor.shape) for name, tensor in _unpickled(path).items()}
    with _open(path) as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


def _unpickled(path: Path) -> Mapping[str, Tensor]:
    """The tensors of a .bin or .ckpt, where its form allows it without reading them into memory."""
    try:
        mapped = zipfile.is_zipfile(path)
        stored = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # torn pickles fail in many ways
        raise RunError(
            path, f"cannot be read ({type(error).__name__}: {error})", _REMEDY
        ) from error
    if isinstance(stored, dict) and isinstance(stored.get("state_dict"), dict):
        stored = stored["state_dict"]
    if not isinstance(stored, dict) or not all(
        isinstance(tensor, Tensor) for tensor in stored.values()
    ):
        raise RunError(path, "is not a state dict of tensors", _REMEDY)
    return stored
