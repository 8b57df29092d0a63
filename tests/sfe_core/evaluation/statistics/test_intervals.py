"""Intervals cover what they should, and the exact test equals the binomial one."""

from __future__ import annotations

import numpy as np
import pytest

from sfe_core.evaluation.statistics import agreement
from sfe_core.evaluation.statistics.intervals import (
    draw_resamples,
    estimate,
    mcnemar_exact,
    percentile_interval,
    resample,
    unanimous_interval,
    without_resampling_bias,
)


def test_the_interval_covers_the_true_mean_about_95_times_in_100():
    random = np.random.default_rng(5)
    resamples = draw_resamples(60, 400, seed=1)
    covered = 0
    for _ in range(400):
        values = resample(agreement.mean, (random.normal(2.0, 1.0, 60),), resamples)
        low, high = percentile_interval(values)
        covered += low <= 2.0 <= high
    assert 0.90 <= covered / 400 <= 0.98


def test_the_interval_of_a_mean_is_the_normal_one_for_many_pictures():
    column = np.random.default_rng(0).normal(size=2000)
    values = resample(agreement.mean, (column,), draw_resamples(2000, 3000, seed=2))
    low, high = percentile_interval(values)
    half = 1.96 * column.std() / np.sqrt(2000)
    assert (low, high) == pytest.approx(
        (column.mean() - half, column.mean() + half), abs=0.1 * half
    )


def test_resamples_are_a_function_of_the_seed_alone():
    first = draw_resamples(10, 5, seed=2**62)
    assert first.shape == (5, 10)
    assert (first == draw_resamples(10, 5, seed=2**62)).all()
    assert (first != draw_resamples(10, 5, seed=3)).any()
    assert first.min() >= 0 and first.max() <= 9


def test_resampling_in_blocks_changes_nothing(monkeypatch):
    column, resamples = np.arange(7.0), draw_resamples(7, 50, seed=0)
    whole = resample(agreement.mean, (column,), resamples)
    monkeypatch.setattr("sfe_core.evaluation.statistics.intervals.MEMORY_NUMBERS", 20)
    np.testing.assert_array_equal(resample(agreement.mean, (column,), resamples), whole)


@pytest.mark.parametrize("n", [1, 2])
def test_fewer_than_three_pictures_have_a_value_and_no_interval(n: int):
    found = estimate(0.5, np.full(100, 0.5), n=n)
    assert (found.value, found.low, found.high) == (0.5, None, None)
    assert found.reason == "no interval from fewer than 3 pictures"
    assert estimate(0.5, np.full(100, 0.5), n=3).low == 0.5


def test_an_interval_never_leaves_its_value_out():
    above = estimate(0.2, np.linspace(0.3, 0.5, 100), n=9)
    below = estimate(0.6, np.linspace(0.3, 0.5, 100), n=9)
    assert (above.low, below.high) == (0.2, 0.6)


def test_undefined_values_and_resamples_are_said_not_shown():
    nothing = estimate(float("nan"), np.full(100, np.nan), n=9)
    assert nothing.value is None and nothing.reason
    mostly = estimate(0.3, np.where(np.arange(100) < 40, 0.3, np.nan), n=9)
    assert mostly.value == 0.3 and mostly.low is None and mostly.reason
    fairly = estimate(0.3, np.where(np.arange(100) < 60, 0.3, np.nan), n=9)
    assert (fairly.low, fairly.high) == (0.3, 0.3)


def test_the_shift_centres_resamples_on_the_value_and_keeps_their_spread():
    values = np.array([3.0, 5.0, np.nan, 7.0])
    shifted = without_resampling_bias(1.0, values)
    assert np.nanmean(shifted) == pytest.approx(1.0)
    assert np.nanstd(shifted) == pytest.approx(np.nanstd(values))


def test_the_bound_of_a_unanimous_share_is_clopper_and_pearsons():
    stats = pytest.importorskip("scipy.stats")
    for hits, n in ((20, 20), (0, 20), (3, 3)):
        exact = stats.binomtest(hits, n).proportion_ci(0.95, method="exact")
        assert unanimous_interval(hits / n, n) == pytest.approx((exact.low, exact.high))


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 0), (9, 2), (5, 5), (0, 12), (40, 31)])
def test_mcnemar_equals_the_two_sided_binomial_test(gained, lost):
    stats = pytest.importorskip("scipy.stats")
    first = np.array([0.0] * gained + [1.0] * lost + [1.0, 0.0, np.nan, 1.0])
    second = np.array([1.0] * gained + [0.0] * lost + [1.0, 0.0, 1.0, np.nan])
    found = mcnemar_exact(first, second)
    assert (found.gained, found.lost) == (gained, lost)
    changed = gained + lost
    expected = stats.binomtest(gained, changed, 0.5).pvalue if changed else 1.0
    assert found.p_value == pytest.approx(expected)


def test_mcnemar_of_very_many_pictures_does_not_overflow():
    first, second = np.zeros(5000), np.ones(5000)
    assert mcnemar_exact(first, second).p_value < 1e-300
    half = np.arange(5000) % 2
    assert mcnemar_exact(half.astype(float), 1.0 - half).p_value == 1.0
