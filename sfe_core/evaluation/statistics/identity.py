"""How alike two faces' identity vectors are, and what photos of one person and of others give."""

from __future__ import annotations

import numpy as np

from sfe_core.arrays import Doubles

# All pairs of this many photos are half a million: more would not make a mean steadier.
MOST_PHOTOS = 1000


def cosine(first: Doubles, second: Doubles) -> Doubles:
    """Cosine [N] of rows [N, D]; nan where either row has one."""
    if first.ndim != 2 or second.ndim != 2:
        return np.full(len(first), np.nan)
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    usable = np.isfinite(lengths) & (lengths > 0)
    products = np.einsum("nd,nd->n", first, second)
    return np.where(usable, products / np.where(usable, lengths, 1.0), np.nan)


def pair_levels(embedding: Doubles, people: np.ndarray) -> dict[str, float]:
    """`same person` and `different people`: mean cosine of pairs of rows of `embedding` [N, D].

    Args:
        people: [N] who is on each photo, None where that is not known; pairs of known people count.

    Returns:
        A level is left out where there is no pair of its kind.
    """
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
