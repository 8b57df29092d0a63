"""Precision and recall on sets whose answer is seen at a glance."""

from __future__ import annotations

import numpy as np

from sfe_core.evaluation.statistics.manifold import ManifoldReference, neighbour_radii

LINE = np.arange(6.0)[:, None]


def test_radii_are_distances_to_the_third_neighbour():
    np.testing.assert_allclose(neighbour_radii(LINE), [3, 2, 2, 2, 2, 3])


def test_what_lies_in_a_ball_is_held():
    reference = ManifoldReference(LINE)
    found = reference.holds(np.array([[2.5], [7.9], [8.1], [-3.0], [-3.1]]))
    assert found.tolist() == [1, 1, 0, 1, 0]


def test_recall_is_precision_with_the_sides_changed():
    others = np.random.default_rng(0).normal(2.0, 2.0, (30, 1))
    held = ManifoldReference(LINE).held_by(others)
    assert held.tolist() == ManifoldReference(others).holds(LINE).tolist()


def test_a_set_covers_itself_and_a_far_one_nothing():
    features = np.random.default_rng(1).normal(size=(40, 5))
    reference = ManifoldReference(features)
    assert reference.holds(features).all() and reference.held_by(features).all()
    assert not reference.holds(features + 100).any()


def test_modes_that_are_missing_lower_recall_and_not_precision():
    random = np.random.default_rng(2)
    left, right = random.normal(size=(50, 3)), random.normal(size=(50, 3)) + 50
    reference = ManifoldReference(np.concatenate([left, right]))
    drawn = random.normal(size=(50, 3)) * 0.5
    assert reference.holds(drawn).mean() > 0.95
    assert 0.3 < reference.held_by(drawn).mean() <= 0.5
