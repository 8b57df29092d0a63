"""Tensors out of plain pickles, without running anything that these contain.

`pickle.dumps(tensor)` names three things: torch's function that puts a tensor over a storage, its
reader of storages, and OrderedDict. Here a function of ours stands for the first, torch's reader of
weights alone for the second, and any other name ends the reading.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sfe_core.arrays import Floats
from sfe_core.errors import UserError
from sfe_core.faces.flame.unpickling import encode_latin1, read_storage

if TYPE_CHECKING:
    from torch import Tensor


class WrongTensorError(Exception):
    """A tensor of another shape or with values that are no numbers; the text says what."""


def read_tensor(content: bytes, shape: Sequence[int], where: str | Path) -> Floats:
    """The values of a pickled tensor, wherever it lay when it was pickled.

    Args:
        content: what `pickle.dumps` of a tensor gave, of the CPU or a GPU, also of a view of a
            larger one.
        shape: that it must have.
        where: names it in errors.

    Returns:
        [*shape] float32, with a memory of its own.

    Raises:
        UserError: it is no pickle of a tensor, or names anything else.
        WrongTensorError: its shape is another, or some values are not finite.
    """
    import torch

    try:
        found = _TensorUnpickler(io.BytesIO(content)).load()
    except Exception as error:  # a damaged pickle can raise anything at all
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(
            where, f"is not read: no pickle of a tensor ({reason})", "get it anew from who made it"
        ) from error
    if not isinstance(found, torch.Tensor):
        raise UserError(where, f"is a pickle of {type(found).__name__}", "expected a tensor")
    # Before any value is touched: a small pickle may claim a huge tensor.
    if tuple(found.shape) != tuple(shape) or not found.is_floating_point():
        raise WrongTensorError(f"{found.dtype} of {list(found.shape)}, expected {list(shape)}")
    values = np.array(found.to(torch.float32).numpy())
    if not np.isfinite(values).all():
        raise WrongTensorError("some values are not finite")
    return values


def _tensor(
    storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object
) -> Tensor:
    """A view of a storage, which it must not leave; what hooks a pickle brings are passed over."""
    import torch

    untyped, dtype = storage.untyped(), storage.dtype
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or any(type(n) is not int or n < 0 for n in numbers):
        raise pickle.UnpicklingError(f"a tensor of {size}, stride {stride}")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if 0 not in size and (last + 1) * dtype.itemsize > untyped.nbytes():
        raise pickle.UnpicklingError(f"a tensor of {size} reaches beyond its storage")
    return torch.empty(0, dtype=dtype).set_(untyped, offset, size, stride)


_KNOWN: dict[tuple[str, str], Callable[..., Any]] = {
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch.storage", "_load_from_bytes"): read_storage,
    ("_codecs", "encode"): encode_latin1,  # the storage's bytes at protocol 2
    ("collections", "OrderedDict"): OrderedDict,
}


class _TensorUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return _KNOWN[module, name]
