"""Reading torch checkpoints of other projects without running anything they name.

Lightning's files hold its own and OmegaConf's objects beside the weights, others a whole module.
Here every class that is not a tensor's becomes an `Inert` record that does nothing, so none of
those packages is needed.
"""

from __future__ import annotations

import pickle
import types
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch._utils import _rebuild_parameter, _rebuild_tensor_v2

from sfe_core.errors import UserError

_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
}


class Inert:
    """Stands for an object of a class that is not loaded: keeps its attributes, does nothing."""

    def __new__(cls, *_arguments: object, **_named: object) -> Inert:  # noqa: D102
        return super().__new__(cls)

    def __init__(self, *_arguments: object, **_named: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        if isinstance(state, dict):
            vars(self).update(state)

    def __setitem__(self, _key: object, _value: object) -> None:
        pass

    def __call__(self, *_arguments: object, **_named: object) -> Inert:  # noqa: D102
        return self

    def append(self, _item: object) -> None:
        """What the pickle of a list-like object asks for."""

    def extend(self, _items: object) -> None:
        """What the pickle of a list-like object asks for."""


class _TensorUnpickler(pickle.Unpickler):
    """Builds tensors and containers; any other name becomes `Inert`."""

    def find_class(self, module: str, name: str) -> Any:
        return _ALLOWED.get((module, name), Inert)


def _load(stream: Any, **options: Any) -> Any:
    return _TensorUnpickler(stream, **options).load()


def _pickle_module() -> types.ModuleType:
    """What `torch.load` takes in place of `pickle`."""
    module = types.ModuleType("sfe_tensor_pickle")
    vars(module).update(Unpickler=_TensorUnpickler, load=_load)
    return module


def read_stored(path: Path) -> Any:
    """What a file of `torch.save` holds, tensors on the CPU, mapped where the format lets.

    Raises:
        UserError: it cannot be read.
    """
    try:
        # `weights_only` would refuse Lightning's files; the unpickler above is what guards.
        return torch.load(
            path,
            map_location="cpu",
            pickle_module=_pickle_module(),
            weights_only=False,
            mmap=zipfile.is_zipfile(path),
        )
    except Exception as error:  # a torn file raises a dozen unrelated types
        problem = " ".join(str(error).split()) or type(error).__name__
        raise UserError(path, f"cannot be read ({problem[:200]})", "fetch it again") from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The dictionary in a file of `torch.save`, see `read_stored`.

    Raises:
        UserError: it cannot be read, or does not hold a dictionary.
    """
    stored = read_stored(path)
    if not isinstance(stored, dict):
        raise UserError(
            path, f"holds a {type(stored).__name__}, not a checkpoint", "fetch it again"
        )
    return stored
