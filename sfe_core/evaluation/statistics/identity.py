"""What a similarity of identity means: that of photos of one person, and of different people."""

from __future__ import annotations

import numpy as np

from sfe_core.evaluation.readings import Array
from sfe_core.evaluation.statistics.metrics import Yardstick

# All pairs of this many photos are half a million: more would not make a mean steadier.
MOST_PHOTOS = 1000


def identity_levels(yardstick: Yardstick, people: np.ndarray | None) -> dict[str, dict[str, float]]:
    """Metric → level → mean cosine over pairs of the split's own photos.

    Args:
        people: [N] who is on each photo, None where that is not known; pairs of known people count.

    Returns:
        Empty without an embedder; a level is left out where the split has no pair of its kind.
    """
    metrics = [name for name in yardstick.further if name.startswith("identity_")]
    if people is None or not metrics:
        return {}
    embedding = yardstick.photos.column("detector", "embedding")
    levels = pair_levels(embedding, people)
    return {name: levels for name in metrics if levels}


def pair_levels(embedding: Array, people: np.ndarray) -> dict[str, float]:
    """`same person` and `different people`: mean cosine of pairs of rows of `embedding` [N, D]."""
    known = np.isfinite(embedding).all(axis=1) & np.array(
        [isinstance(name, str) and bool(name) for name in people], dtype=bool
    )
    rows = np.flatnonzero(known)
    if len(rows) > MOST_PHOTOS:
        rows = rows[np.linspace(0, len(rows) - 1, MOST_PHOTOS).round().astype(int)]
    if len(rows) < 2:
        return {}
    vectors = np.asarray(embedding[rows], dtype=np.float64)
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    first, second = np.triu_indices(len(rows), 1)
    cosines = (vectors @ vectors.T)[first, second]
    names = np.asarray(people, dtype=object)[rows]
    same = names[first] == names[second]
    levels = {}
    for level, chosen in (("same person", same), ("different people", ~same)):
        if chosen.any():
            levels[level] = float(cosines[chosen].mean())
    return levels
