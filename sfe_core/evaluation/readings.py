"""What was read off a set of pictures, as arrays, and its cache on disk."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sfe_core.files import atomic_path

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Readings:
    """One row per key, in the order of `keys`; a picture that could not be measured is all nan.

    Attributes:
        keys: N names.
        faults: N texts, "" where the picture was measured, else why not.
        columns: instrument → column → [N] or [N, D], as the probes name them.
        recognisers: the emotion recognisers among the instruments, the judge first.
    """

    keys: NDArray[np.str_]
    faults: NDArray[np.str_]
    columns: Mapping[str, Mapping[str, Array]]
    recognisers: tuple[str, ...]

    @property
    def valid(self) -> NDArray[np.bool_]:
        """[N], True where the picture was measured."""
        return self.faults == ""

    def faulty(self) -> dict[str, int]:
        """How many pictures could not be measured, by fault."""
        names, counts = np.unique(self.faults[~self.valid], return_counts=True)
        return {str(name): int(count) for name, count in zip(names, counts, strict=True)}

    def column(self, instrument: str, name: str) -> Array:
        """A column of an instrument; all nan where this set was not measured by it."""
        found = self.columns.get(instrument, {}).get(name)
        return np.full(len(self.keys), np.nan) if found is None else found

    @property
    def logits(self) -> Array:
        """[N, 8] of the judge."""
        return self.columns[self.recognisers[0]]["logits"]


@dataclass(frozen=True)
class Measured:
    """One instrument's columns, and the faults that were met on the way."""

    faults: NDArray[np.str_]
    columns: dict[str, Array]


def load_measured(path: Path, keys: Sequence[str]) -> Measured | None:
    """What was saved before; None where there is nothing, the file is torn or of other keys."""
    stored = load_arrays(path)
    if stored is None or "keys" not in stored or stored.pop("keys").tolist() != list(keys):
        return None
    faults = stored.pop("faults", None)
    return None if faults is None else Measured(faults, stored)


def save_measured(path: Path, keys: Sequence[str], measured: Measured) -> None:
    """Write one instrument's columns as .npz, atomically."""
    named = {"keys": np.array(keys, dtype=np.str_), "faults": measured.faults}
    save_arrays(path, named | measured.columns)


def load_arrays(path: Path) -> dict[str, np.ndarray] | None:
    """Arrays saved by `save_arrays`, or None where there are none or the file is torn."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
        return None


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays as .npz, atomically."""
    with atomic_path(path) as partial, open(partial, "wb") as stream:
        # numpy's hints take any keyword for `allow_pickle`.
        np.savez(stream, **arrays)  # type: ignore[arg-type]
