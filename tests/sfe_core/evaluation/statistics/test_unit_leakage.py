"""Leakage and curves of action units against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from sfe_core.evaluation.statistics.resampling import draw_resamples
from sfe_core.evaluation.statistics.unit_leakage import curve, leakage, slopes_of, unasked_shares

MIXED = np.array([[0.5, 0.1, 0.0], [0.0, 1.0, -0.4], [0.2, 0.0, 0.8]])
RANDOM = np.random.default_rng(0)


def test_slopes_are_those_of_the_mixing_though_units_are_asked_for_together():
    asked = RANDOM.uniform(0, 5, (60, 3))
    asked[:, 1] = asked[:, 0] + RANDOM.uniform(0, 1, 60)  # nearly always both
    assert slopes_of(1.5 + asked @ MIXED, asked) == pytest.approx(MIXED)


def test_what_was_asked_for_alike_has_no_slope():
    asked = RANDOM.uniform(0, 5, (20, 3))
    asked[:, 2] = 3.0
    found = slopes_of(asked @ MIXED, asked)
    assert np.isnan(found[2]).all() and found[:2] == pytest.approx(MIXED[:2])
    assert np.isnan(slopes_of(asked[:1], asked[:1])).all()


def test_unasked_is_the_mean_of_the_others_over_its_own():
    assert unasked_shares(MIXED) == pytest.approx([0.1, 0.2, 0.125])
    assert np.isnan(unasked_shares(np.ones((1, 1)))).all()
    still = unasked_shares(np.array([[0.0, 1.0], [0.0, 1.0]]))
    assert np.isnan(still[0]) and still[1] == 0.0


def test_pictures_without_a_reading_are_left_out_and_people_stay_together():
    asked = RANDOM.uniform(0, 5, (40, 3))
    read = asked @ MIXED + RANDOM.normal(0, 0.3, (40, 3))
    people = [f"p{n // 4}" for n in range(40)]
    read[7] = np.nan
    found = leakage(read, asked, draw_resamples(40, 100, 1, people))
    keep = np.arange(40) != 7
    assert found.slopes == pytest.approx(slopes_of(read[keep], asked[keep]))
    for one, value in zip(found.unasked, unasked_shares(found.slopes), strict=True):
        assert one.value == pytest.approx(value) and one.low < one.value < one.high
        assert (one.n, one.people) == (39, 10)


def test_a_curve_has_the_mean_of_each_grade():
    asked = np.array([0.0, 0.2, 2.0, 2.4, 5.0, np.nan] * 5)
    read = np.where(np.isnan(asked), 9.0, 0.8 * np.round(np.nan_to_num(asked)) + 0.1)
    found = curve(read, asked, draw_resamples(len(asked), 50, 0))
    assert [one.asked for one in found] == [0.0, 2.0, 5.0]
    for one in found:
        assert one.read.value == pytest.approx(0.8 * one.asked + 0.1)
    assert [one.read.n for one in found] == [10, 10, 5]
