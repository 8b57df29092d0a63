"""Intervals cover what they should, of people too, and those of shares move with their count."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, t

from sfe_core.evaluation.statistics import agreement
from sfe_core.evaluation.statistics.intervals import (
    Estimate,
    effective_count,
    estimate,
    estimate_of_change,
    percentile_interval,
    tail,
    wilson,
    without_resampling_bias,
)
from sfe_core.evaluation.statistics.resampling import Behind, Resamples, draw_resamples, resample


def behind(n: int) -> Behind:
    return Behind(n, n, 1 / n, False)


def people(count: int, each: int) -> list[str]:
    return [str(place // each) for place in range(count * each)]


def mean_of(column: np.ndarray, resamples: Resamples, share: bool = False) -> Estimate:
    values = resample(agreement.mean, (column,), resamples)
    everything = resamples.behind(np.ones(len(column), dtype=bool))
    return estimate(float(column.mean()), values, everything, share)


def test_the_interval_covers_the_true_mean_about_95_times_in_100():
    random = np.random.default_rng(5)
    resamples = draw_resamples(60, 400, seed=1)
    found = [mean_of(random.normal(2.0, 1.0, 60), resamples) for _ in range(400)]
    assert 0.92 <= np.mean([one.low <= 2.0 <= one.high for one in found]) <= 0.98


@pytest.mark.parametrize("count", [6, 12, 40])
def test_it_covers_where_pictures_of_a_person_are_alike_and_pictures_as_such_do_not(count: int):
    random = np.random.default_rng(count)
    clustered = draw_resamples(count * 8, 400, seed=1, people=people(count, 8))
    single = draw_resamples(count * 8, 400, seed=1)
    covered = {id(clustered): 0, id(single): 0}
    for _ in range(300):
        column = np.repeat(random.normal(2.0, 1.0, count), 8) + random.normal(0.0, 1.0, count * 8)
        for resamples in (clustered, single):
            found = mean_of(column, resamples)
            covered[id(resamples)] += found.low <= 2.0 <= found.high
    assert 0.91 <= covered[id(clustered)] / 300 <= 0.985
    assert covered[id(single)] / 300 < 0.80


@pytest.mark.parametrize("share", [0.05, 0.3, 0.8])
@pytest.mark.parametrize("alike", [0.0, 0.1, 0.3])
def test_a_clustered_share_is_covered_about_95_times_in_100(share: float, alike: float):
    # A beta-binomial: people differ, and two pictures of one correlate by `alike`.
    random = np.random.default_rng(11)
    resamples = draw_resamples(320, 400, seed=1, people=people(40, 8))
    covered, widths = 0, []
    for _ in range(300):
        scale = 1.0 / alike - 1.0 if alike else np.inf
        own = random.beta(share * scale, (1 - share) * scale, 40) if alike else np.full(40, share)
        found = mean_of((random.random(320) < np.repeat(own, 8)).astype(float), resamples, True)
        covered += found.low <= share <= found.high
        widths.append(found.high - found.low)
    assert covered / 300 >= 0.91
    # Wide enough, and not by being wide: what a known spread would give, and a third.
    known = 2 * 1.96 * np.sqrt(share * (1 - share) / 320 * (1 + 7 * alike))
    assert 0.9 < np.mean(widths) / known < 1.35


@pytest.mark.parametrize("each", [1, 4])
def test_the_interval_of_a_share_moves_with_its_count_and_is_never_empty(each: int):
    count = 48
    names = people(count // each, each) if each > 1 else None
    resamples = draw_resamples(count, 300, seed=2, people=names)
    column, lows, highs = np.zeros(count), [], []
    for place in [None, *np.random.default_rng(0).permutation(count)]:
        if place is not None:
            column[place] = 1.0
        found = mean_of(column, resamples, share=True)
        assert 0.0 <= found.low <= found.value <= found.high <= 1.0
        assert found.high - found.low > 0.05
        lows.append(found.low)
        highs.append(found.high)
    assert (np.diff(lows) >= 0).all() and (np.diff(highs) >= 0).all()
    assert lows[0] == 0.0 and highs[-1] == 1.0
    assert lows[-1] - lows[0] > 0.8


def test_wilsons_interval_is_scipys():
    for hits, n in ((0, 7), (7, 7), (3, 9), (250, 300)):
        exact = binomtest(hits, n).proportion_ci(0.95, method="wilson")
        assert wilson(hits / n, n) == pytest.approx((exact.low, exact.high))


def test_pictures_of_one_person_count_for_less():
    widening = (t.ppf(0.975, 39) / 1.959964) ** 2
    assert effective_count(Behind(40, 40, 1 / 40, False)) == pytest.approx(40 / widening)
    assert effective_count(Behind(320, 40, 1 / 40, True)) == pytest.approx(320 / widening / 1.35)
    # One person with half of all pictures makes them worth less still.
    assert effective_count(Behind(320, 40, 0.25, True)) < 320 / widening / 1.35


def test_the_interval_of_a_mean_is_the_normal_one_for_many_pictures():
    column = np.random.default_rng(0).normal(size=2000)
    found = mean_of(column, draw_resamples(2000, 3000, seed=2))
    half = 1.96 * column.std() / np.sqrt(2000)
    assert (found.low, found.high) == pytest.approx(
        (column.mean() - half, column.mean() + half), abs=0.1 * half
    )


def test_the_tails_shrink_with_few_units_and_are_the_usual_ones_for_many():
    assert tail(100_000) == pytest.approx(0.025, rel=1e-3)
    assert 0.0 < tail(3) < tail(6) < tail(9) < tail(40) < 0.025


@pytest.mark.parametrize("n", [1, 2])
def test_fewer_than_three_units_have_a_value_and_no_interval(n: int):
    found = estimate(0.5, np.full(100, 0.5), behind(n))
    assert (found.value, found.low, found.high) == (0.5, None, None)
    assert found.reason == "no interval from fewer than 3 pictures"
    assert estimate(0.5, np.full(100, 0.5), behind(3)).low == 0.5
    of_people = estimate(0.5, np.full(100, 0.5), Behind(16, n, 1 / n, True))
    assert of_people.reason == "no interval from fewer than 3 people"
    assert (of_people.n, of_people.people) == (16, n)


def test_an_interval_never_leaves_its_value_out():
    above = estimate(0.2, np.linspace(0.3, 0.5, 100), behind(9))
    below = estimate(0.6, np.linspace(0.3, 0.5, 100), behind(9))
    assert (above.low, below.high) == (0.2, 0.6)


def test_undefined_values_and_resamples_are_said_not_shown():
    nothing = estimate(float("nan"), np.full(100, np.nan), behind(9))
    assert nothing.value is None and nothing.reason
    mostly = estimate(0.3, np.where(np.arange(100) < 40, 0.3, np.nan), behind(9))
    assert mostly.value == 0.3 and mostly.low is None and mostly.reason
    fairly = estimate(0.3, np.where(np.arange(100) < 60, 0.3, np.nan), behind(9))
    assert (fairly.low, fairly.high) == (0.3, 0.3)
    assert percentile_interval(np.array([np.nan, 1.0, 2.0]), 0.0) == (1.0, 2.0)


def test_a_difference_of_shares_is_never_empty():
    alike = estimate_of_change(0.0, np.zeros(100), behind(60), (0.0, 0.0))
    assert alike.low == -alike.high and 0.04 < alike.high < 0.08
    surely = estimate_of_change(1.0, np.ones(100), behind(60), (1.0, 0.0))
    assert surely.high == 1.0 and 0.9 < surely.low < 0.95
    # Of numbers that are not right or wrong, resamples alone decide.
    assert estimate_of_change(0.0, np.zeros(100), behind(60)).high == 0.0


def test_the_shift_centres_resamples_on_the_value_and_keeps_their_spread():
    values = np.array([3.0, 5.0, np.nan, 7.0])
    shifted = without_resampling_bias(1.0, values)
    assert np.nanmean(shifted) == pytest.approx(1.0)
    assert np.nanstd(shifted) == pytest.approx(np.nanstd(values))
