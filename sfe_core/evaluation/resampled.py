"""resamples.npz of an evaluation: every metric of every resample, so that several can be pooled.

Evaluations of one split with one `sampling.seed` draw the same people in the same resample, however
their models were trained: differences and means of their resamples are those of one bootstrap.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sfe_core.evaluation.readings import load_arrays, save_arrays
from sfe_core.evaluation.statistics.pooling import Resampled
from sfe_core.evaluation.statistics.resampling import Behind

RESAMPLES = "resamples.npz"
_BEHIND = "behind:"


def save_resampled(folder: Path, sets: Mapping[str, Mapping[str, Resampled]]) -> None:
    """Write what `load_resampled` reads; `sets`: set, then metric."""
    arrays = {}
    for name, metrics in sets.items():
        for metric, found in metrics.items():
            behind = found.behind
            arrays[f"{name}:{metric}"] = found.values.astype(np.float32)
            numbers = (behind.pictures, behind.units, behind.largest_share, behind.by_people)
            arrays[f"{_BEHIND}{name}:{metric}"] = np.array(numbers, dtype=np.float64)
    save_arrays(folder / RESAMPLES, arrays)


def load_resampled(folder: Path) -> dict[str, dict[str, Resampled]]:
    """Set, then metric; empty where the folder has none, as of earlier versions, or a torn one."""
    found: dict[str, dict[str, Resampled]] = {}
    arrays = load_arrays(folder / RESAMPLES) or {}
    for key, values in arrays.items():
        if key.startswith(_BEHIND):
            continue
        name, _, metric = key.partition(":")
        pictures, units, largest_share, by_people = arrays[_BEHIND + key].tolist()
        behind = Behind(int(pictures), int(units), largest_share, bool(by_people))
        found.setdefault(name, {})[metric] = Resampled(values.astype(np.float64), behind)
    return found
