"""Which face comes when: an order that depends on (seed, epoch, position) and nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfe_core.arrays import Doubles
from sfe_core.files import derive_seed


def balance_weights(
    emotions: Sequence[int], balance: float, drawn: Doubles | None = None
) -> Doubles:
    """How many times each item is drawn per epoch, [N] ≥ 1, so that emotions even out.

    An emotion that is present n times is drawn n + balance · (m - n) times, m being the count of
    the most frequent one: 0 leaves frequencies as they are, 1 makes them uniform. Items of unknown
    emotion (negative) are drawn once. So can any other groups be evened out, as people.

    Args:
        emotions: [N] places in EMOTIONS, negative where unknown.
        balance: in [0, 1].
        drawn: [N] ≥ 1, how many times each is drawn for another reason; within an emotion their
            proportions stay. None: once.
    """
    places = np.asarray(emotions, dtype=np.int64).reshape(-1)
    known = places >= 0
    weights = np.ones(len(places)) if drawn is None else np.array(drawn, dtype=float)
    if known.any():
        counts = np.bincount(places[known], weights[known])
        wanted = counts + balance * (counts.max() - counts)
        weights[known] *= (wanted / np.maximum(counts, 1.0))[places[known]]
    return weights


def rare_weights(present: NDArray[np.bool_], balance: float) -> Doubles:
    """How many times each item is drawn per epoch, [N] ≥ 1, so that rare traits come more often.

    An item may have several traits, so counts cannot all be evened out. As in repeat factor
    sampling (A. Gupta, P. Dollár and R. Girshick, "LVIS", CVPR 2019, arXiv 1908.03195), a trait
    that n items have asks for sqrt(m / n) draws, m being the count of the most frequent one, and an
    item is drawn as often as its rarest trait asks.

    Args:
        present: [N, T], which items have which traits.
        balance: in [0, 1], the way from once to that.
    """
    counts = np.maximum(present.sum(axis=0), 1)
    factors = np.sqrt(counts.max(initial=1) / counts)
    rarest = np.where(present, factors, 1.0).max(axis=1, initial=1.0)
    return 1.0 + balance * (rarest - 1.0)


class DeterministicSampler:
    """An endless, reproducible stream of item numbers, cut into epochs.

    Within an epoch item i appears w_i times, rounded down or up (systematic resampling over a
    shuffled order), so weights of 1 give each item exactly once; `take` reads the stream at any
    place, for resuming.

    Args:
        length: number of items N > 0.
        seed: the run's seed.
        weights: [N] draws per epoch and item, see `balance_weights`; None means 1 each.
    """

    def __init__(
        self, length: int, seed: int, weights: Sequence[float] | Doubles | None = None
    ) -> None:
        if length < 1:
            raise ValueError("a sampler needs at least one item")
        if weights is not None and len(weights) != length:
            raise ValueError(f"{len(weights)} weights for {length} items")
        self.seed = seed
        self._weights = np.ones(length) if weights is None else np.asarray(weights, dtype=float)
        # Rounded up, so that the points below lie at most 1 apart and no weight ≥ 1 is missed.
        self._size = max(1, math.ceil(float(self._weights.sum()) - 1e-6))
        self._cached: tuple[int, NDArray[np.int64]] | None = None

    def __len__(self) -> int:
        """Draws per epoch."""
        return self._size

    def order(self, epoch: int) -> NDArray[Any]:
        """Item numbers of one epoch, [len(self)] int64."""
        if self._cached is None or self._cached[0] != epoch:
            random = np.random.default_rng(derive_seed(self.seed, "order", epoch))
            shuffled = random.permutation(len(self._weights))
            ends = np.cumsum(self._weights[shuffled])
            # Evenly spaced points over the summed weights: an item is hit once per unit of weight.
            points = (np.arange(self._size) + random.random()) * ends[-1] / self._size
            hits = np.minimum(np.searchsorted(ends, points, side="right"), len(ends) - 1)
            self._cached = (epoch, random.permutation(shuffled[hits]))
        return self._cached[1]

    def take(self, position: int, count: int) -> list[int]:
        """Items `position` … `position + count - 1` of the endless stream, over epoch borders."""
        taken: list[int] = []
        while len(taken) < count:
            epoch, inner = divmod(position + len(taken), self._size)
            taken += self.order(epoch)[inner : inner + count - len(taken)].tolist()
        return taken
