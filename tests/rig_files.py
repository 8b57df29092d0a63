"""DiffusionRig's data bases as its public code writes them, of few small photos."""

from __future__ import annotations

import io
import pickle
import warnings
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import torch
from PIL import Image
from torch import Tensor

BUFFERS = ("normal", "albedo", "rendered")


class Reduced:
    """Pickled as a call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self._call


def stored(tensor: Tensor) -> bytes:
    """The storage of a tensor as it lies in a pickle of it."""
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # typed storages are deprecated
        torch.save(tensor.storage(), stream, _use_new_zipfile_serialization=False)
    return stream.getvalue()


def pickled_over(
    storage: bytes, size: Sequence[int], stride: Sequence[int], offset: int = 0
) -> bytes:
    """A pickle of a tensor over a storage."""
    inner = Reduced(torch.storage._load_from_bytes, storage)
    call = (inner, offset, tuple(size), tuple(stride), False, OrderedDict())
    return pickle.dumps(Reduced(torch._utils._rebuild_tensor_v2, *call))


def pickled_on_gpu(tensor: Tensor) -> bytes:
    """What `pickle.dumps` gives of the tensor on the first GPU; no GPU is needed."""
    storage = stored(tensor)
    cpu, gpu = b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0"
    assert storage.count(cpu) == 1
    storage = storage.replace(cpu, gpu)
    return pickled_over(storage, tensor.shape, tensor.stride(), int(tensor.storage_offset()))


def rig_buffers(photos: Sequence[Image.Image], seed: int = 0) -> dict[str, Tensor]:
    """Buffers [N, 3, S, S] of a round head in the middle of each photo."""
    side = photos[0].width
    across, down = np.meshgrid(*2 * [(np.arange(side) + 0.5) / side * 2 - 1])
    x, y = across / 0.6, -down / 0.7
    hit = x**2 + y**2 < 1
    normals = np.stack([x, y, np.sqrt(np.clip(1 - x**2 - y**2, 0, None))]) * hit
    rng = np.random.default_rng(seed)
    albedo = rng.uniform(0.2, 0.9, (len(photos), 3, 1, 1)) * hit
    rendered = albedo * (0.4 + 0.9 * normals[2])  # beyond 1 here and there
    normals = np.broadcast_to(normals, albedo.shape)
    found = {"normal": normals, "albedo": albedo, "rendered": rendered}
    return {name: torch.from_numpy(values.copy()).float() for name, values in found.items()}


def write_rig_database(
    folder: Path,
    photos: Sequence[Image.Image],
    more: Mapping[str, bytes] | None = None,
    codes: bool = False,
) -> dict[str, Tensor]:
    """Write an LMDB of DiffusionRig; the buffers it holds, as `rig_buffers`.

    As by a run on the CPU each pickle is of a view of the batch, but for the last photo's, which is
    of a GPU's tensor.

    Args:
        folder: of the LMDB.
        photos: square, of one size.
        more: keys that are added or replaced.
        codes: with the codes of DiffusionRig-Emo's second version.
    """
    buffers = rig_buffers(photos)
    values = {"length": str(len(photos)).encode()}
    shapes = torch.arange(len(photos) * 150).float().reshape(-1, 150) / 100
    for index, photo in enumerate(photos):
        stream = io.BytesIO()
        photo.save(stream, "PNG")
        values[f"image_{index:06d}"] = stream.getvalue()
        dump = pickled_on_gpu if index == len(photos) - 1 else pickle.dumps
        for name, batch in buffers.items():
            values[f"{name}_{index:06d}"] = dump(batch[index])
        if codes:
            values[f"shape_{index:06d}"] = dump(shapes[index, :100])
            values[f"identity_{index:06d}"] = dump(shapes[index])
    environment = lmdb.open(str(folder), map_size=1 << 26)
    with environment.begin(write=True) as transaction:
        for key, value in (values | dict(more or {})).items():
            transaction.put(key.encode(), value)
    environment.close()
    return buffers
