"""Closed forms of the agreement scores, and how they treat what is missing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import linregress, spearmanr

from sfe_core.evaluation.statistics import agreement

X = np.array([-0.9, -0.2, 0.1, 0.4, 0.8])
ALL = [
    agreement.concordance,
    agreement.pearson,
    agreement.root_mean_square,
    agreement.sign_agreement,
    agreement.spearman,
    agreement.slope,
    agreement.mean_square,
]


def test_perfect_agreement():
    assert agreement.concordance(X, X) == pytest.approx(1.0)
    assert agreement.pearson(X, X) == pytest.approx(1.0)
    assert agreement.root_mean_square(X, X) == 0.0
    assert agreement.sign_agreement(X, X) == 1.0


def test_a_shift_costs_concordance_its_closed_form_and_correlation_nothing():
    shift = 0.3
    expected = 2 * X.var() / (2 * X.var() + shift**2)
    assert agreement.concordance(X + shift, X) == pytest.approx(expected)
    assert agreement.pearson(X + shift, X) == pytest.approx(1.0)
    assert agreement.root_mean_square(X + shift, X) == pytest.approx(shift)


def test_a_scale_costs_concordance_its_closed_form():
    expected = 2 * 0.5 * X.var() / (1.25 * X.var() + (0.5 * X.mean()) ** 2)
    assert agreement.concordance(0.5 * X, X) == pytest.approx(expected)


def test_the_opposite_is_minus_one_about_a_common_mean():
    centred = X - X.mean()
    assert agreement.concordance(-centred, centred) == pytest.approx(-1.0)
    assert agreement.sign_agreement(-centred, centred) == 0.0


def test_pearson_is_numpys():
    other = np.array([0.3, -0.5, 0.2, 0.9, 0.1])
    assert agreement.pearson(X, other) == pytest.approx(np.corrcoef(X, other)[0, 1])


def test_several_numbers_correlate_about_their_own_means():
    random = np.random.default_rng(3)
    read, asked = random.normal(size=(2, 4, 50))
    means = 100.0 * np.arange(4)[:, None]
    unlike = agreement.pooled_pearson(*(read + means), *(asked + means))
    assert abs(unlike) < 0.25  # the means, which agree, do not count
    alone = agreement.pooled_pearson(read[0], asked[0])
    assert alone == pytest.approx(agreement.pearson(read[0], asked[0]))
    centred = (x - x.mean(axis=1, keepdims=True) for x in (read, asked))
    assert unlike == pytest.approx(np.corrcoef(*(x.ravel() for x in centred))[0, 1])
    read[1] = np.nan
    assert np.isnan(agreement.pooled_pearson(*read[1:2], *asked[1:2]))


def test_ranks_and_slopes_are_scipys():
    asked = np.array([0.0, 1.0, 1.0, 3.0, 5.0, 5.0])
    read = np.array([0.3, 0.3, 1.2, 0.9, 4.0, 6.0])
    assert agreement.spearman(read, asked) == pytest.approx(spearmanr(read, asked).statistic)
    assert agreement.slope(read, asked) == pytest.approx(linregress(asked, read).slope)
    assert np.isnan(agreement.slope(read, np.ones(6))) and agreement.slope(np.ones(6), asked) == 0


def test_f1_is_the_harmonic_mean_of_precision_and_recall():
    read, asked = np.array([1, 1, 0, 0, 1.0, np.nan]), np.array([1, 0, 1, 0, 1.0, 1.0])
    precision, recall = 2 / 3, 2 / 3
    expected = 2 * precision * recall / (precision + recall)
    assert agreement.f1(read, asked) == pytest.approx(expected)
    assert np.isnan(agreement.f1(np.zeros(4), np.zeros(4)))
    assert agreement.f1(np.zeros(4), np.ones(4)) == 0.0


@pytest.mark.parametrize("statistic", ALL)
def test_missing_pairs_are_left_out(statistic):
    read = np.append(X + 0.1, [np.nan, 5.0])
    asked = np.append(X, [5.0, np.nan])
    assert statistic(read, asked) == pytest.approx(statistic(X + 0.1, X))


@pytest.mark.parametrize("statistic", ALL)
def test_the_last_axis_is_reduced_so_that_resamples_are_one_call(statistic):
    rows = np.array([[0, 1, 2, 3, 4], [4, 4, 1, 0, 2]])
    both = statistic((X**3)[rows], X[rows])
    assert both.shape == (2,)
    assert both[1] == pytest.approx(statistic((X**3)[rows[1]], X[rows[1]]))


@pytest.mark.parametrize("statistic", ALL)
def test_nothing_at_all_is_nan(statistic):
    assert np.isnan(statistic(np.full(3, np.nan), np.ones(3)))


def test_correlations_without_any_variation_are_nan():
    assert np.isnan(agreement.concordance(np.full(4, 0.3), np.full(4, 0.3)))
    assert np.isnan(agreement.pearson(X, np.full(5, 0.3)))
    assert agreement.concordance(X, np.full(5, 0.3)) == 0.0
