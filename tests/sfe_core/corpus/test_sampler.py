"""The order of training: reproducible at any position, balanced as asked."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from sfe_core.corpus.sampler import DeterministicSampler, balance_weights


def test_without_weights_an_epoch_is_a_permutation() -> None:
    sampler = DeterministicSampler(101, seed=3)
    assert sorted(sampler.order(0)) == list(range(101))
    assert sampler.order(0).tolist() != sampler.order(1).tolist()


def test_seed_and_epoch_decide_the_order() -> None:
    first, second = DeterministicSampler(50, 1), DeterministicSampler(50, 1)
    second.order(7)
    assert first.order(2).tolist() == second.order(2).tolist()
    assert first.order(2).tolist() != DeterministicSampler(50, 2).order(2).tolist()


def test_take_reads_the_stream_anywhere() -> None:
    sampler = DeterministicSampler(10, 5)
    stream = [index for epoch in range(4) for index in sampler.order(epoch).tolist()]
    assert sampler.take(0, 40) == stream
    assert sampler.take(17, 12) == stream[17:29]


@pytest.mark.parametrize(
    ("balance", "expected"),
    [(0.0, {0: 60, 1: 30, 2: 10}), (1.0, {0: 60, 1: 60, 2: 60}), (0.5, {0: 60, 1: 45, 2: 35})],
)
def test_balance_evens_out_emotions(balance: float, expected: dict[int, int]) -> None:
    emotions = [0] * 60 + [1] * 30 + [2] * 10
    sampler = DeterministicSampler(100, 0, balance_weights(emotions, balance))
    drawn = sampler.order(0)
    counts = Counter(emotions[index] for index in drawn)
    assert all(abs(counts[place] - n) <= 1 for place, n in expected.items())
    # Nobody is left out, and items of one emotion are drawn equally often, to within one.
    appearances = np.bincount(drawn, minlength=100)
    assert appearances.min() >= 1
    assert np.ptp(appearances[:60]) <= 1 and np.ptp(appearances[90:]) <= 1


def test_unknown_emotions_keep_their_weight() -> None:
    assert balance_weights([-1, 0, 0, 1], 1.0).tolist() == [1.0, 1.0, 1.0, 2.0]
    assert balance_weights([-1, -1], 1.0).tolist() == [1.0, 1.0]


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        DeterministicSampler(0, 0)
    with pytest.raises(ValueError, match="2 weights for 3"):
        DeterministicSampler(3, 0, [1.0, 1.0])
