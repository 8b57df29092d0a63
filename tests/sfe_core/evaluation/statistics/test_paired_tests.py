"""Paired tests equal the exact ones, and hold their level where pictures of a person are alike."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from sfe_core.evaluation.statistics.paired_tests import (
    FLIPS,
    MCNEMAR,
    WILCOXON,
    compare_numbers,
    compare_shares,
    sign_flips,
)


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 0), (9, 2), (5, 5), (0, 12), (40, 31)])
def test_mcnemar_equals_the_two_sided_binomial_test(gained, lost):
    first = np.array([0.0] * gained + [1.0] * lost + [1.0, 0.0, np.nan, 1.0])
    second = np.array([1.0] * gained + [0.0] * lost + [1.0, 0.0, 1.0, np.nan])
    found = compare_shares(first, second, None)
    assert (found.gained, found.lost, found.test) == (gained, lost, MCNEMAR)
    changed = gained + lost
    expected = binomtest(gained, changed, 0.5).pvalue if changed else 1.0
    assert found.p_value == pytest.approx(expected)


def test_mcnemar_of_very_many_pictures_does_not_overflow():
    first, second = np.zeros(5000), np.ones(5000)
    assert compare_shares(first, second, None).p_value < 1e-300
    half = np.arange(5000) % 2
    assert compare_shares(half.astype(float), 1.0 - half, None).p_value == 1.0


@pytest.mark.parametrize(("gained", "lost"), [(1, 0), (9, 2), (5, 5), (0, 12), (40, 31)])
def test_with_a_picture_a_person_flips_are_mcnemars_test(gained, lost):
    first = np.array([0.0] * gained + [1.0] * lost + [1.0])
    second = np.array([1.0] * gained + [0.0] * lost + [1.0])
    found = compare_shares(first, second, np.arange(gained + lost + 1))
    exact = compare_shares(first, second, None).p_value
    assert (found.gained, found.lost, found.test) == (gained, lost, FLIPS)
    # Of more than 13 people flips are drawn: within four standard errors of 9999 draws.
    near = 1e-12 if gained + lost <= 13 else 4 * np.sqrt(exact * (1 - exact) / 9999) + 1e-4
    assert found.p_value == pytest.approx(exact, abs=near)


def test_all_pictures_of_one_person_say_no_more_than_one():
    first, second = np.zeros(24), np.ones(24)
    unit = np.arange(24) // 8
    assert compare_shares(first, second, unit).p_value == pytest.approx(2 * 0.5**3)
    assert compare_shares(first, second, None).p_value < 1e-6
    assert sign_flips(first, second, np.zeros(24, dtype=int)) == 1.0


def test_flips_hold_their_level_where_people_differ_and_the_others_do_not():
    random = np.random.default_rng(4)
    rejected = {FLIPS: 0, WILCOXON: 0}
    unit = np.repeat(np.arange(9), 8)
    for _ in range(150):
        change = np.repeat(random.normal(size=9), 8) + random.normal(size=72)
        for of in (unit, None):
            p_value, test = compare_numbers(np.zeros(72), change, of)
            rejected[test] += p_value < 0.05
    assert rejected[FLIPS] / 150 <= 0.09
    assert rejected[WILCOXON] / 150 > 0.2


def test_pairs_without_a_number_are_left_out():
    nothing = np.full(4, np.nan)
    assert sign_flips(nothing, np.ones(4), np.arange(4)) is None
    assert compare_shares(nothing, np.ones(4), np.arange(4)).p_value == 1.0
    assert sign_flips(np.ones(4), np.ones(4), np.arange(4)) == 1.0
    first = np.array([0.0, 0.0, 0.0, np.nan])
    assert sign_flips(first, np.ones(4), np.arange(4)) == pytest.approx(2 * 0.5**3)


def test_the_same_changes_give_the_same_p():
    random = np.random.default_rng(0)
    first, second, unit = random.normal(size=60), random.normal(0.2, 1.0, 60), np.arange(60) // 2
    assert sign_flips(first, second, unit) == sign_flips(first, second, unit)
