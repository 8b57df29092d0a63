"""Sweeps, outcomes and places of change, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from sfe_core.evaluation.statistics.expression_control import (
    change_by_place,
    edit_outcomes,
    halfway,
    left_out_cosines,
    mean_direction,
    person_cosine,
    ratio_of_means,
    sweep_linearity,
    sweep_monotone,
)

NAN = np.nan
STRENGTHS = np.array([0.0, 0.5, 1.0])


def test_a_straight_sweep_is_one_a_turned_one_minus_one_and_a_still_one_nothing():
    read = np.array(
        [[0.1, 0.5, 0.9], [0.9, 0.5, 0.1], [0.3, 0.3, 0.3], [0.0, 0.0, 1.0], [0.2, NAN, 0.9]]
    )
    found = sweep_linearity(read, STRENGTHS)
    assert found[:4] == pytest.approx([1.0, -1.0, 0.0, 0.75**0.5])
    assert np.isnan(found[4])  # of two pictures nothing can be said
    four = np.array([[0.1, NAN, 0.5, 0.9]])
    assert sweep_linearity(four, np.array([0.0, 0.2, 0.5, 1.0])) == pytest.approx([1.0])
    # A straight line of noise is none.
    assert sweep_linearity(np.array([[0.3, 0.3 + 1e-9, 0.3 + 2e-9]]), STRENGTHS) == [0.0]


def test_monotone_is_a_rise_that_never_falls_back():
    read = np.array(
        [
            [0.1, 0.5, 0.9],
            [0.1, 0.09, 0.9],  # wavers
            [0.1, 0.9, 0.5],
            [0.3, 0.3, 0.3],  # never moves
            [0.9, 0.5, 0.1],
            [0.1, NAN, 0.9],
        ]
    )
    assert sweep_monotone(read)[:5].tolist() == [1.0, 1.0, 0.0, 0.0, 0.0]
    assert np.isnan(sweep_monotone(read)[5])
    slowly = np.array([[0.5, 0.9, 0.889, 0.878, 0.867]])  # each fall is small, all together not
    assert sweep_monotone(slowly).tolist() == [0.0]


def test_lazy_and_over_edited_are_told_apart_and_share_all_pictures():
    shown = np.array([1.0, 0.0, 1.0, 0.0, NAN, 1.0])
    identity = np.array([0.9, 0.9, 0.2, 0.2, 0.9, NAN])
    found = edit_outcomes(shown, identity, 0.5)
    assert found.done[:4].tolist() == [1, 0, 0, 0]
    assert found.lazy[:4].tolist() == [0, 1, 0, 0]
    assert found.overdone[:4].tolist() == [0, 0, 1, 1]
    together = found.done + found.lazy + found.overdone
    assert (together[:4] == 1).all() and np.isnan(together[4:]).all()
    assert edit_outcomes(np.ones(1), np.array([0.5]), 0.5).done.tolist() == [1.0]


def test_the_bound_lies_midway_and_asks_for_an_embedder_that_tells_people_apart():
    assert halfway(0.8, 0.2) == pytest.approx(0.5)
    for same, different in ((0.2, 0.2), (0.1, 0.3), (NAN, 0.1)):
        with pytest.raises(ValueError, match="is not above different people"):
            halfway(same, different)


def test_a_ratio_is_of_means_over_pairs_that_have_both():
    above, below = np.array([1.0, 3.0, NAN, 9.0]), np.array([1.0, 1.0, 5.0, NAN])
    assert ratio_of_means(above, below) == pytest.approx(2.0)
    rows = ratio_of_means(np.stack([above, above]), np.stack([below, 2 * below]))
    assert rows == pytest.approx([2.0, 1.0])
    assert np.isnan(ratio_of_means(np.ones(3), np.zeros(3)))


def test_change_is_told_inside_and_outside_of_a_mask():
    before, after = np.zeros((2, 3, 2, 4)), np.zeros((2, 3, 2, 4))
    mask = np.zeros((2, 1, 2, 4))
    mask[0, :, :, :1] = 1.0  # a quarter of the picture
    after[0, :, :, 0], after[0, :, :, 1] = -0.6, 0.3
    inside, outside = change_by_place(before, after, mask)
    assert inside[0] == pytest.approx(0.6) and outside[0] == pytest.approx(0.1)
    assert np.isnan(inside[1]) and outside[1] == 0.0  # no mask: nothing lies inside
    soft, _ = change_by_place(before[:1], after[:1], 0.5 * np.ones((1, 1, 2, 4)))
    assert soft == pytest.approx((0.6 + 0.3) / 4)


def test_photos_of_an_album_count_alike_whatever_their_vectors_length():
    album = np.array([[2.0, 0.0], [0.0, 5.0], [NAN, 1.0]])
    assert mean_direction(album) == pytest.approx([0.5**0.5, 0.5**0.5])
    drawn = np.array([[3.0, 3.0], [1.0, 0.0], [0.0, 0.0], [NAN, 1.0]])
    found = person_cosine(drawn, album)
    assert found[:2] == pytest.approx([1.0, 0.5**0.5]) and np.isnan(found[2:]).all()
    with pytest.raises(ValueError, match="no photo of the album"):
        person_cosine(drawn, np.full((2, 2), NAN))


def test_a_real_photo_is_measured_against_the_others():
    album = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [NAN, NAN]])
    found = left_out_cosines(album)
    assert found[:3] == pytest.approx([0.5**0.5, 0.5**0.5, 0.0]) and np.isnan(found[3])
    assert np.isnan(left_out_cosines(album[:1])).all()
