"""What is asked of a photo: another expression, of a share of the decoded, at any strength."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sfe_core.corpus.views import View
from sfe_core.recipes.shared.asked import Asked, asked_shares, draw_asked
from sfe_core.recipes.shared.draws import Slot

SLOT = Slot(View(0), 5, False, False, False, 0)


def test_another_expression_is_asked_of_a_share_of_the_decoded():
    assert draw_asked(SLOT, 0, range(8), 1.0) is None  # not decoded
    many = [replace(SLOT, decode=True, noise_seed=n) for n in range(2000)]
    drawn = [draw_asked(one, 1, (0, 1, 2), 0.25) for one in many]
    assert drawn == [draw_asked(one, 1, (0, 1, 2), 0.25) for one in many]
    places = [one.place for one in drawn if one]
    counts = {place: places.count(place) for place in set(places)}
    assert counts.keys() == {0, 2}
    assert len(places) == pytest.approx(500, abs=80)
    assert counts[0] == pytest.approx(counts[2], abs=80)
    assert draw_asked(replace(many[0], drop_caption=True), 1, (0, 1, 2), 1.0) is None
    assert draw_asked(many[0], 1, (1,), 1.0) is None


def test_half_of_what_is_asked_is_whole_and_of_neutral_all():
    many = [replace(SLOT, decode=True, noise_seed=n) for n in range(1000)]
    strengths = [draw_asked(one, 1, (2,), 1.0).strength for one in many]
    assert strengths.count(1.0) == pytest.approx(500, abs=60)
    assert all(0 < one <= 1 for one in strengths)
    part = [one for one in strengths if one < 1]
    assert sum(part) / len(part) == pytest.approx(0.5, abs=0.05)
    assert all(draw_asked(one, 1, (0,), 1.0) == Asked(0) for one in many[:50])


def test_what_is_left_of_a_part_is_neutral():
    found = asked_shares([Asked(3, 0.25), None, Asked(0)])
    assert found[0, 3] == 0.25 and found[0, 0] == 0.75
    assert not found[1].any() and found[2, 0] == 1 and found.sum() == 2
