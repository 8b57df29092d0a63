"""Resamples draw people with all their pictures, and pictures where nobody is known."""

from __future__ import annotations

import numpy as np
import pytest

from sfe_core.evaluation.statistics import agreement
from sfe_core.evaluation.statistics.resampling import NOBODY, draw_resamples, resample

PEOPLE = np.array(["a", "b", "a", None, "c", "b", float("nan"), "a", ""], dtype=object)


def test_a_person_comes_with_all_pictures_or_none():
    found = draw_resamples(9, 300, seed=0, people=PEOPLE)
    counts = np.stack([np.bincount(row[row != NOBODY], minlength=9) for row in found.drawn])
    for own in ([0, 2, 7], [1, 5]):
        assert (counts[:, own] == counts[:, own[:1]]).all()
    # Six units in each: three people, and the three pictures of nobody known.
    assert (counts[:, [0, 1, 4, 3, 6, 8]].sum(axis=1) == 6).all()
    assert counts.min() == 0 and counts.max() >= 3
    assert found.drawn.shape[1] == counts.sum(axis=1).max() > counts.sum(axis=1).min()


def test_without_people_pictures_are_drawn_as_ever():
    generator = np.random.Generator(np.random.PCG64(7))
    expected = generator.integers(0, 12, size=(5, 12))
    for people in (None, [None] * 12, [f"p{place}" for place in range(12)]):
        found = draw_resamples(12, 5, seed=7, people=people)
        np.testing.assert_array_equal(found.drawn, expected)
    assert draw_resamples(12, 5, seed=7).people is None
    assert found.people is not None and found.people.tolist() == list(range(12))


def test_resamples_are_a_function_of_the_seed_alone():
    first = draw_resamples(10, 5, seed=2**62).drawn
    assert first.shape == (5, 10)
    assert (first == draw_resamples(10, 5, seed=2**62).drawn).all()
    assert (first != draw_resamples(10, 5, seed=3).drawn).any()
    assert first.min() >= 0 and first.max() <= 9


def test_resampling_in_blocks_changes_nothing(monkeypatch):
    column, resamples = np.arange(9.0), draw_resamples(9, 50, seed=0, people=PEOPLE)
    whole = resample(agreement.mean, (column,), resamples)
    monkeypatch.setattr("sfe_core.evaluation.statistics.resampling.MEMORY_NUMBERS", 20)
    np.testing.assert_array_equal(resample(agreement.mean, (column,), resamples), whole)


def test_a_shorter_resample_is_the_statistic_of_its_own_pictures():
    column, other = np.random.default_rng(1).normal(size=(2, 9))
    resamples = draw_resamples(9, 20, seed=0, people=PEOPLE)
    found = resample(agreement.concordance, (column, other), resamples)
    rows = [row[row != NOBODY] for row in resamples.drawn]
    expected = [agreement.concordance(column[row], other[row]) for row in rows]
    np.testing.assert_allclose(found, expected)


def test_what_stands_behind_a_number_is_of_the_pictures_that_count():
    resamples = draw_resamples(9, 2, seed=0, people=PEOPLE)
    every = resamples.behind(np.ones(9, dtype=bool))
    assert (every.pictures, every.units, every.word) == (9, 6, "people")
    assert every.largest_share == pytest.approx((9 + 4 + 1 + 1 + 1 + 1) / 81)
    few = resamples.behind(np.arange(9) < 3)
    assert (few.pictures, few.units) == (3, 2)
    alone = draw_resamples(9, 2, seed=0).behind(np.ones(9, dtype=bool))
    assert (alone.units, alone.word, alone.largest_share) == (9, "pictures", pytest.approx(1 / 9))
    assert draw_resamples(0, 2, seed=0).behind(np.zeros(0, dtype=bool)).units == 0
