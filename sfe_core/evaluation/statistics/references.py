"""The real photos that pictures are held against: their statistics, computed once and kept."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sfe_core.arrays import Doubles
from sfe_core.evaluation.readings import load_arrays, save_arrays
from sfe_core.evaluation.statistics.distances import FrechetReference, KernelReference
from sfe_core.evaluation.statistics.manifold import SMALLEST, ManifoldReference

STATISTICS_VERSION = 1


@dataclass(frozen=True)
class References:
    """The reference set's statistics; None each where `reason` says why there are none.

    `people`: [M] who is on each photo, see `draw_resamples`.
    """

    frechet: FrechetReference | None
    kernel: KernelReference | None
    manifold: ManifoldReference | None
    reason: str = ""
    people: np.ndarray | None = None

    @classmethod
    def missing(cls, reason: str) -> References:
        """No reference, and why."""
        return cls(None, None, None, reason)


def reference_statistics(features: Doubles, cache: Path | None = None) -> References:
    """The statistics of reference features [M, D], M >= 2.

    Args:
        cache: a folder that keeps them: the root of a large covariance matrix takes seconds.
    """
    features = np.asarray(features, dtype=np.float64)
    path = None if cache is None else cache / f"reference-{_digest(features)}.npz"
    known = load_arrays(path) if path is not None else None
    if known is None:
        known = _computed(features)
        if path is not None:
            save_arrays(path, known)
    radii = known.get("radii")
    return References(
        FrechetReference.from_statistics(known["mean"], known["root"], float(known["trace"])),
        KernelReference(features, float(known["within"])),
        None if radii is None else ManifoldReference(features, radii),
    )


def _computed(features: Doubles) -> dict[str, np.ndarray]:
    frechet, kernel = FrechetReference(features), KernelReference(features)
    found = {
        "mean": frechet.mean,
        "root": frechet.root,
        "trace": np.array(frechet.trace),
        "within": np.array(kernel.within),
    }
    if len(features) >= SMALLEST:
        found["radii"] = ManifoldReference(features).radii
    return found


def _digest(features: Doubles) -> str:
    digest = hashlib.sha256(f"{STATISTICS_VERSION} {features.shape}".encode())
    digest.update(np.ascontiguousarray(features).tobytes())
    return digest.hexdigest()[:16]
