"""What was read off a set of pictures, as arrays, and its cache on disk."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
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
        features: [N, D] of the judge.
        logits: [N, 8] of the judge, in the order of `EMOTIONS`.
        valence, arousal: [N] as the judge reads them, in [-1, 1].
        perceptual: [N] distance to the photo of the same key; nan for the photos themselves.
        detected: [N], 1.0 where the detector found a face, 0.0 where not.
        landmark_error: [N], mean distance to the landmarks asked for, % of the inter-ocular
            distance; nan where no face was found.
    """

    keys: NDArray[np.str_]
    faults: NDArray[np.str_]
    features: Array
    logits: Array
    valence: Array
    arousal: Array
    perceptual: Array
    detected: Array
    landmark_error: Array

    @property
    def valid(self) -> NDArray[np.bool_]:
        """[N], True where the picture was measured."""
        return self.faults == ""

    def faulty(self) -> dict[str, int]:
        """How many pictures could not be measured, by fault."""
        names, counts = np.unique(self.faults[~self.valid], return_counts=True)
        return {str(name): int(count) for name, count in zip(names, counts, strict=True)}


def load_readings(path: Path, keys: Sequence[str]) -> Readings | None:
    """Readings saved before, or None where there are none, or the file is torn or of other keys."""
    stored = _load(path, [field.name for field in fields(Readings)])
    if stored is None or stored["keys"].tolist() != list(keys):
        return None
    return Readings(**stored)


def save_readings(path: Path, readings: Readings) -> None:
    """Write readings as .npz, atomically."""
    _save(path, {field.name: getattr(readings, field.name) for field in fields(Readings)})


def load_array(path: Path) -> Array | None:
    """One array saved by `save_array`, or None where there is none or the file is torn."""
    stored = _load(path, ["values"])
    return None if stored is None else stored["values"]


def save_array(path: Path, values: Array) -> None:
    """Write one array as .npz, atomically."""
    _save(path, {"values": values})


def _load(path: Path, names: Sequence[str]) -> dict[str, np.ndarray] | None:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in names}
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
        return None


def _save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with atomic_path(path) as partial, open(partial, "wb") as stream:
        np.savez_compressed(stream, **arrays)
