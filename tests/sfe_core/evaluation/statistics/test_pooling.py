"""Pooled numbers: intervals over people and seeds cover what they should."""

from __future__ import annotations

import numpy as np
import pytest

from sfe_core.evaluation.statistics import agreement
from sfe_core.evaluation.statistics.intervals import estimate
from sfe_core.evaluation.statistics.pooling import Resampled, pooled
from sfe_core.evaluation.statistics.resampling import draw_resamples, resample

PEOPLE, EACH = 30, 4
NAMES = [str(place // EACH) for place in range(PEOPLE * EACH)]


def measured(columns: list[np.ndarray]) -> tuple[list[float], list[Resampled]]:
    drawn = draw_resamples(PEOPLE * EACH, 400, seed=1, people=NAMES)
    behind = drawn.behind(np.ones(PEOPLE * EACH, dtype=bool))
    resampled = [Resampled(resample(agreement.mean, (c,), drawn), behind) for c in columns]
    return [float(column.mean()) for column in columns], resampled


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("of_seeds", [0.0, 0.2, 1.0])
def test_people_and_seeds_that_both_vary_are_covered(seeds: int, of_seeds: float):
    random = np.random.default_rng(3)
    covered = alone = 0
    for _ in range(150):
        people = np.repeat(random.normal(0.0, 1.0, PEOPLE), EACH)
        columns = [
            2.0 + people + random.normal(0.0, of_seeds) + random.normal(0.0, 1.0, len(people))
            for _ in range(seeds)
        ]
        values, resampled = measured(columns)
        found = pooled(values, resampled)
        covered += found.low <= 2.0 <= found.high
        over_people = np.mean([one.values for one in resampled], axis=0)
        naive = estimate(found.value, over_people, resampled[0].behind)
        alone += naive.low <= 2.0 <= naive.high
    assert covered / 150 >= 0.90
    assert covered >= alone
    if of_seeds == 1.0:
        assert alone / 150 < 0.70


def test_one_seed_is_as_it_was_measured():
    values, resampled = measured([np.random.default_rng(0).normal(size=PEOPLE * EACH)])
    alone = estimate(values[0], resampled[0].values, resampled[0].behind)
    assert pooled(values, resampled) == alone


def test_what_all_seeds_show_alike_has_the_interval_of_people_alone():
    column = np.random.default_rng(0).normal(size=PEOPLE * EACH)
    values, resampled = measured([column] * 3)
    found, alone = pooled(values, resampled), pooled(values[:1], resampled[:1])
    assert found.value == pytest.approx(alone.value)
    assert found.high - found.low == pytest.approx(alone.high - alone.low, rel=0.1)


def test_a_difference_that_every_person_and_seed_shows_is_sure():
    random = np.random.default_rng(2)
    first = [random.normal(size=PEOPLE * EACH) + seed for seed in range(3)]
    values, resampled = measured(first)
    other_values, others = measured([column + 0.5 for column in first])
    gaps = [b - a for a, b in zip(values, other_values, strict=True)]
    found = pooled(gaps, [b.minus(a) for a, b in zip(resampled, others, strict=True)])
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))


def test_a_share_is_never_empty_and_stays_a_share():
    values, resampled = measured([np.ones(PEOPLE * EACH)] * 3)
    found = pooled(values, resampled, share=True)
    assert found.high == 1.0 and 0.9 < found.low < 0.98
    half = [np.repeat(np.arange(PEOPLE) % 2, EACH) * 1.0] * 2
    found = pooled(*measured([half[0], 1 - half[1] * 0.0]), share=True, bounds=(0.0, 1.0))
    assert 0.0 <= found.low < found.high <= 1.0
