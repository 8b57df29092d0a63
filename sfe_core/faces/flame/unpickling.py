"""Reading the pickles that FLAME is published as, without running anything that they contain.

A pickle names functions to call. Here only the handful that build arrays can be named; objects of
chumpy and scipy become `Inert` records of their state, so neither package is needed and no code
of the file's choosing runs.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sfe_core.errors import UserError

_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")


class Inert:
    """The state of a pickled object whose class is not loaded."""

    kind = ""

    def __new__(cls, *_arguments: object) -> Inert:  # noqa: D102
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _inert_class(module: str, name: str) -> type[Inert]:
    return type(name, (Inert,), {"kind": f"{module}.{name}"})


def _reconstructor(cls: type, _base: type, _state: object) -> Inert:
    """What copyreg does for an old-style `__reduce__`, for inert records alone."""
    if not (isinstance(cls, type) and issubclass(cls, Inert)):
        raise pickle.UnpicklingError(f"builds an object of {cls!r}")
    return cls()


def encode_latin1(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes at protocol 2; no other encoding is written."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"asks for the encoding {encoding!r}")
    return text.encode("latin1")


def read_storage(stored: bytes) -> Any:
    """A torch storage inside the pickle, through torch's own restricted loader."""
    import torch

    return torch.load(io.BytesIO(stored), map_location="cpu", weights_only=True)


def _maker(value: np.ndarray | np.generic) -> Callable[..., Any]:
    """The function that NumPy itself names in the pickle of such a value."""
    reduced = value.__reduce__()
    assert not isinstance(reduced, str)
    return reduced[0]


def _callables() -> dict[tuple[str, str], Callable[..., Any]]:
    """Everything a file may name, besides what becomes `Inert`."""
    found: dict[tuple[str, str], Callable[..., Any]] = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("_codecs", "encode"): encode_latin1,
        ("collections", "OrderedDict"): OrderedDict,
        ("torch.storage", "_load_from_bytes"): read_storage,
    }
    for module in _MULTIARRAY:
        found[module, "_reconstruct"] = _maker(np.empty(0))
        found[module, "scalar"] = _maker(np.float64())
    for module in ("copy_reg", "copyreg"):
        found[module, "_reconstructor"] = _reconstructor
    for module in ("__builtin__", "builtins"):
        found[module, "object"] = object
        found[module, "set"] = set
    return found


class _ArrayUnpickler(pickle.Unpickler):
    """Refuses every name outside `_callables`, chumpy and scipy.sparse."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(stream, encoding="latin1")
        self._callables = _callables()

    def find_class(self, module: str, name: str) -> Any:
        if module == "chumpy" or module.startswith(("chumpy.", "scipy.sparse")):
            return _inert_class(module, name)
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            from torch._utils import _rebuild_tensor_v2

            return _rebuild_tensor_v2
        try:
            return self._callables[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"names {module}.{name}, which is not an array") from None


def load_arrays(path: Path, page: str) -> Any:
    """The object pickled in `path` (a pickle, or an .npy file that holds one object).

    Args:
        path: the file.
        page: where an unharmed copy is to be had, for the error's text.

    Raises:
        UserError: the file is missing, is not such a pickle, or names anything but arrays.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(path, "is missing", f"download it from {page}")
    try:
        with open(path, "rb") as stream:
            if path.suffix == ".npy":
                _skip_npy_header(stream)
            return _ArrayUnpickler(stream).load()
    except Exception as error:  # a damaged pickle can raise anything at all
        raise UserError(
            path, f"cannot be read safely ({error})", f"download it again from {page}"
        ) from error


def _skip_npy_header(stream: BinaryIO) -> None:
    """Leave the stream where the pickled object of an .npy file begins."""
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"version {version} of the .npy format")
    _shape, _order, dtype = np.lib.format.read_array_header_1_0(stream)
    if not dtype.hasobject:
        raise ValueError(f"an array of {dtype} where a dictionary is expected")


def as_array(value: Any, where: str) -> NDArray[Any]:
    """A number array out of what a FLAME file stores: ndarray, tensor, chumpy or scipy object.

    chumpy's `Ch` holds its value as `x`; its `Select` is `a.ravel()[idxs]` in `preferred_shape`.

    Raises:
        UserError: an expression of chumpy that holds no value, or no numbers at all.
    """
    if isinstance(value, Inert):
        value = _evaluate(value, where)
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise UserError(
            where, f"holds {array.dtype} instead of numbers", "use the file as published"
        )
    return array


def _evaluate(record: Inert, where: str) -> NDArray[Any]:
    """The value of a chumpy or scipy object."""
    state, name = record.state, record.kind.rsplit(".", 1)[-1]
    try:
        if record.kind.startswith("scipy"):
            import scipy.sparse

            build = {"csc": scipy.sparse.csc_array, "csr": scipy.sparse.csr_array}[name[:3]]
            parts = (state["data"], state["indices"], state["indptr"])
            return build(parts, shape=tuple(state["_shape"])).toarray()
        if name == "Select":
            chosen = as_array(state["a"], where).ravel()[as_array(state["idxs"], where)]
            return chosen.reshape(state["preferred_shape"])
        return as_array(state["x"], where)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            where, f"is a {record.kind} whose value is not stored", "use the file as published"
        ) from error
