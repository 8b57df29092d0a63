"""Tensors of one shape by the hash of what they were computed from, on disk.

They lie in safetensors files of some dozens of megabytes that are written whole and never changed;
each names the hashes of its rows. Several processes may add at once, and an interrupted one loses
no more than the file it was about to write.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sfe_core.errors import RunError
from sfe_core.files import TEMPORARY_MARK, atomic_path, sha256_json

FILE_BYTES = 64_000_000
_ROWS, _KEYS = "rows", "keys"


class TensorStore:
    """A folder of such files.

    Args:
        folder: made when first written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._paths: list[Path] = []
        self._places: dict[str, tuple[int, int]] = {}
        self.refresh()

    def refresh(self) -> None:
        """Look for files that were added since.

        Raises:
            RunError: one cannot be read.
        """
        known = set(self._paths)
        found = sorted(self.folder.glob("*.safetensors")) if self.folder.is_dir() else []
        for path in found:
            if path not in known and not path.name.startswith(TEMPORARY_MARK):
                self._take(path, json.loads(_open(path).metadata()[_KEYS]))

    def missing(self, keys: Sequence[str]) -> list[str]:
        """Those of `keys` that are not there, each once, in order."""
        return list(dict.fromkeys(key for key in keys if key not in self._places))

    def add(self, keys: Sequence[str], rows: Tensor) -> None:
        """Write rows [N, ...] and the hash of each as one file, atomically."""
        path = self.folder / f"{sha256_json(list(keys))[:24]}.safetensors"
        with atomic_path(path) as partial:
            save_file(
                {_ROWS: rows.contiguous().cpu()}, partial, metadata={_KEYS: json.dumps(list(keys))}
            )
        if path not in self._paths:
            self._take(path, list(keys))

    def reader(self, keys: Sequence[str]) -> TensorReader:
        """A reader of the rows of `keys`, all of which must be there, by their number."""
        places = np.array([self._places[key] for key in keys], np.int32).reshape(-1, 2)
        return TensorReader(list(self._paths), places)

    def _take(self, path: Path, keys: list[str]) -> None:
        for row, key in enumerate(keys):
            self._places[key] = (len(self._paths), row)
        self._paths.append(path)


class TensorReader:
    """Reads single rows through the operating system's page cache; picklable, for loaders."""

    def __init__(self, paths: list[Path], places: NDArray[np.int32]) -> None:
        self._paths, self._places = paths, places
        self._slices: dict[int, Any] = {}

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, number: int) -> Tensor:
        """Row `number`, [...]."""
        file, row = (int(part) for part in self._places[number])
        if file not in self._slices:
            handle = _open(self._paths[file])
            self._slices[file] = handle, handle.get_slice(_ROWS)
        return self._slices[file][1][row : row + 1][0]

    def rows(self, numbers: Sequence[int]) -> Tensor:
        """Several rows, [N, ...]."""
        return torch.stack([self[number] for number in numbers])

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_slices": {}}


def _open(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt").__enter__()
    except (SafetensorError, OSError) as error:
        raise RunError(
            path, f"cannot be read ({error})", "delete it: what it held is computed again"
        ) from error
