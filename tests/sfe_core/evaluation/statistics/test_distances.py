"""Closed forms, identity, symmetry and bias of the distances between sets."""

from __future__ import annotations

import numpy as np
import pytest

from sfe_core.evaluation.statistics.distances import FrechetReference, KernelReference


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(0)


def with_moments(mean: np.ndarray, covariance: np.ndarray, random: np.random.Generator):
    """40 rows whose sample mean and covariance are these to the last digits."""
    rows = random.normal(size=(40, len(mean)))
    rows -= rows.mean(axis=0)
    rows = np.linalg.solve(np.linalg.cholesky(np.cov(rows.T)), rows.T).T
    return rows @ np.linalg.cholesky(covariance).T + mean


def test_frechet_of_diagonal_gaussians_has_its_closed_form(random):
    mean_a, mean_b = np.array([1.0, -2.0, 0.5]), np.array([0.0, 1.0, 0.5])
    var_a, var_b = np.array([1.0, 4.0, 9.0]), np.array([4.0, 4.0, 0.25])
    expected = 1 + 9 + ((np.sqrt(var_a) - np.sqrt(var_b)) ** 2).sum()
    features = with_moments(mean_a, np.diag(var_a), random)
    reference = FrechetReference(with_moments(mean_b, np.diag(var_b), random))
    assert reference.distance(features) == pytest.approx(expected, rel=1e-12)


def test_frechet_of_correlated_gaussians_equals_the_matrix_square_root(random):
    linalg = pytest.importorskip("scipy.linalg")
    a, b = (m @ m.T + np.eye(5) for m in random.normal(size=(2, 5, 5)))
    mean_a, mean_b = random.normal(size=(2, 5))
    root = linalg.sqrtm(a @ b).real
    expected = ((mean_a - mean_b) ** 2).sum() + np.trace(a + b - 2 * root)
    first, second = with_moments(mean_a, a, random), with_moments(mean_b, b, random)
    assert FrechetReference(second).distance(first) == pytest.approx(expected, rel=1e-9)
    assert FrechetReference(first).distance(second) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("count", [4, 40])
def test_features_give_the_distance_of_their_moments_for_few_and_many_pictures(random, count):
    features, reference = random.normal(size=(count, 12)), random.normal(1.0, 2.0, size=(300, 12))
    linalg = pytest.importorskip("scipy.linalg")
    cov_a, cov_b = np.cov(features.T), np.cov(reference.T)
    overlap = np.sqrt(np.maximum(linalg.eigvals(cov_a @ cov_b).real, 0.0)).sum()
    shift = ((features.mean(0) - reference.mean(0)) ** 2).sum()
    expected = shift + np.trace(cov_a) + np.trace(cov_b) - 2 * overlap
    assert FrechetReference(reference).distance(features) == pytest.approx(expected, rel=1e-8)


def test_a_set_is_at_distance_zero_from_itself(random):
    features = random.normal(size=(50, 6))
    assert FrechetReference(features).distance(features) == pytest.approx(0.0, abs=1e-9)


def test_a_shift_moves_both_distances_by_its_known_amount(random):
    features = random.normal(size=(60, 4))
    shift = np.array([3.0, 0.0, 0.0, 4.0])
    assert FrechetReference(features).distance(features + shift) == pytest.approx(25.0, rel=1e-9)
    assert KernelReference(features).distance(features + shift) > 1.0


def test_kernel_distance_is_the_written_out_double_sum(random):
    x, y = random.normal(size=(7, 3)), random.normal(0.5, 1.0, size=(9, 3))

    def k(a, b):
        return (a @ b / 3 + 1) ** 3

    within_x = np.mean([k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j])
    within_y = np.mean([k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j])
    expected = within_x + within_y - 2 * np.mean([k(a, b) for a in x for b in y])
    assert KernelReference(y).distance(x) == pytest.approx(expected, rel=1e-10)


def test_kernel_distance_is_unbiased_where_frechet_is_not(random):
    reference = random.normal(size=(400, 8))
    kernel, frechet = KernelReference(reference), FrechetReference(reference)
    sets = random.normal(size=(300, 20, 8))
    kernels = np.array([kernel.distance(one) for one in sets])
    error = kernels.std() / np.sqrt(len(sets))
    assert abs(kernels.mean()) < 4 * error + 0.02
    assert (kernels < 0).any()
    assert np.mean([frechet.distance(one) for one in sets]) > 0.5


def test_resampling_does_not_bias_the_kernel_distance(random):
    features, reference = random.normal(size=(25, 6)), random.normal(size=(200, 6))
    kernel = KernelReference(reference)
    resamples = random.integers(0, 25, size=(4000, 25))
    values = kernel.resampled(features, resamples)
    assert values.mean() == pytest.approx(kernel.distance(features), abs=0.15 * values.std())


def test_a_resample_equals_the_distance_of_the_pictures_drawn(random):
    features, reference = random.normal(size=(10, 4)), random.normal(size=(50, 4))
    rows = random.integers(0, 10, size=(3, 10))
    frechet = FrechetReference(reference)
    expected = [frechet.distance(features[row]) for row in rows]
    np.testing.assert_allclose(frechet.resampled(features, rows), expected)
    everything_once = [np.arange(10)[::-1]]
    kernel = KernelReference(reference)
    assert kernel.resampled(features, everything_once)[0] == pytest.approx(
        kernel.distance(features)
    )


def test_resamples_of_too_few_pictures_are_nan(random):
    features, reference = random.normal(size=(3, 4)), random.normal(size=(50, 4))
    rows = [np.array([1]), np.array([], dtype=int), np.array([2, 2])]
    with np.errstate(all="ignore"):
        frechet = FrechetReference(reference).resampled(features, rows)
        kernel = KernelReference(reference).resampled(features, rows)
    assert np.isnan(frechet).tolist() == [True, True, False]
    assert np.isnan(kernel).all()


@pytest.mark.parametrize("bad", [np.zeros((1, 3)), np.zeros(3), np.full((4, 3), np.nan)])
def test_refuses_features_it_cannot_measure(bad):
    with pytest.raises(ValueError):
        FrechetReference(bad)
    with pytest.raises(ValueError):
        KernelReference(np.eye(3)).distance(bad)
