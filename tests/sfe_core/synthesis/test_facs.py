"""Emotion to action units to facial actions, and the labels that come of it."""

from __future__ import annotations

import numpy as np
import pytest

from sfe_core.controls.emotion_prototypes import PROTOTYPES
from sfe_core.controls.facial_actions import (
    ACTIONS_OF_UNIT,
    EXCLUSIVE_UNITS,
    SIDED_UNITS,
    UNITS,
    unit_actions,
)
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError
from sfe_core.faces.head import ACTION_NAMES
from sfe_core.synthesis.facs import sample_expression, sample_units


def draws(emotion: str, count: int = 60):
    return [sample_expression(emotion, np.random.default_rng(k)) for k in range(count)]


def test_every_emotion_has_a_prototype_of_known_units_and_actions() -> None:
    assert tuple(PROTOTYPES) == EMOTIONS
    for prototype in PROTOTYPES.values():
        assert set(prototype.core) | set(prototype.optional) <= set(UNITS)
    for actions in ACTIONS_OF_UNIT.values():
        for name in actions:
            sides = [name[:-1] + "Left", name[:-1] + "Right"] if name.endswith("*") else [name]
            assert set(sides) <= set(ACTION_NAMES)


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_labels_are_in_range_and_core_units_strong(emotion: str) -> None:
    for expression in draws(emotion):
        units = dict(zip(UNITS, expression.units, strict=True))
        assert all(0.0 <= value <= 5.0 for value in units.values())
        assert -1 <= expression.valence <= 1 and -1 <= expression.arousal <= 1
        assert min(expression.actions) >= 0.0
        for name, share in PROTOTYPES[emotion].core.items():
            assert units[name] >= 0.5 * share * 5.0 * 0.62
        if emotion == "neutral":
            assert max(units.values()) < 1.0 and abs(expression.valence) < 0.25


def test_circumplex_quadrants() -> None:
    means = {
        emotion: np.mean([[d.valence, d.arousal] for d in draws(emotion)], axis=0)
        for emotion in EMOTIONS
    }
    assert means["happy"][0] > 0.5 and means["sad"][0] < -0.4 and means["sad"][1] < 0
    for emotion in ("fear", "anger", "surprise"):
        assert means[emotion][1] > 0.4
    for emotion in ("fear", "anger", "disgust", "contempt"):
        assert means[emotion][0] < -0.2


def test_stronger_expressions_lie_farther_out() -> None:
    happy = draws("happy", 200)
    strength = [d.intensity for d in happy]
    assert np.corrcoef(strength, [d.valence for d in happy])[0, 1] > 0.5


def test_contempt_is_one_sided_and_takes_either_side() -> None:
    left, right = (ACTION_NAMES.index(f"mouthSmile{side}") for side in ("Left", "Right"))
    seen = set()
    for expression in draws("contempt"):
        high, low = sorted((expression.actions[left], expression.actions[right]), reverse=True)
        assert high > 0.7 and low < 0.1
        seen.add(expression.actions[left] > expression.actions[right])
    assert seen == {True, False}


def test_other_expressions_are_slightly_asymmetric() -> None:
    left, right = (ACTION_NAMES.index(f"mouthSmile{side}") for side in ("Left", "Right"))
    gaps = [abs(d.actions[left] - d.actions[right]) for d in draws("happy")]
    assert 0.005 < np.mean(gaps) < 0.25


def test_units_add_up_and_sides_scale() -> None:
    actions = unit_actions({"AU12": 0.5, "AU26": 1.0}, (1.0, 0.5))
    left, right = (ACTION_NAMES.index(f"mouthSmile{side}") for side in ("Left", "Right"))
    assert actions[left] == pytest.approx(0.5 * ACTIONS_OF_UNIT["AU12"]["mouthSmile*"])
    assert actions[right] == pytest.approx(actions[left] / 2)
    jaw = ACTION_NAMES.index("jawOpen")
    assert actions[jaw] == pytest.approx(ACTIONS_OF_UNIT["AU26"]["jawOpen"])


def test_unknown_emotion_is_the_users_error() -> None:
    with pytest.raises(UserError, match="joy.*neutral, happy"):
        sample_expression("joy", np.random.default_rng(0))


def test_units_of_sides_tell_the_one_sided_smile_of_contempt() -> None:
    place = UNITS.index("AU12")
    for expression in draws("contempt"):
        strengths = [units[place] for units in expression.units_of_sides]
        weak, strong = sorted(strengths)
        assert weak == 0.0 and strong == expression.units[place]
        left = ACTION_NAMES.index("mouthSmileLeft")
        assert (strengths[0] > strengths[1]) == (expression.actions[left] > 0.5)


def test_units_without_sides_are_equal_on_both() -> None:
    for expression in draws("surprise"):
        left, right = (dict(zip(UNITS, s, strict=True)) for s in expression.units_of_sides)
        whole = dict(zip(UNITS, expression.units, strict=True))
        assert left["AU26"] == right["AU26"] == whole["AU26"]
        assert left["AU2"] != right["AU2"] and max(left["AU2"], right["AU2"]) <= whole["AU2"]


def test_random_units_are_all_seen_and_do_not_come_together() -> None:
    drawn = [sample_units(np.random.default_rng(k)) for k in range(1500)]
    sides = np.array([d.units_of_sides for d in drawn])
    assert sides.shape == (1500, 2, len(UNITS)) and sides.min() >= 0 and sides.max() <= 5
    assert (np.mean(sides.max(1) > 1, axis=0) > 0.08).all()
    correlation = np.corrcoef(sides.max(1).T) - np.eye(len(UNITS))
    assert np.abs(correlation).max() < 0.2  # the exclusive ones avoid each other
    drawable = [pair for pair in EXCLUSIVE_UNITS if set(pair) <= set(UNITS)]
    assert len(drawable) == 3
    for first, second in drawable:
        strong = sides.max(1)[:, [UNITS.index(first), UNITS.index(second)]]
        assert (strong.min(1) < 1).all()
    assert all(d.emotion == "neutral" and np.isnan(d.valence) for d in drawn)


def test_a_random_unit_moves_the_side_it_is_on() -> None:
    drawn = [sample_units(np.random.default_rng(k)) for k in range(400)]
    smile = UNITS.index("AU12")
    left, right = (ACTION_NAMES.index(f"mouthSmile{side}") for side in ("Left", "Right"))
    units = np.array([d.units_of_sides for d in drawn])[:, :, smile]
    actions = np.array([d.actions for d in drawn])[:, [left, right]]
    assert np.allclose(actions, 1.55 * units / 5, atol=1e-3)
    assert (np.ptp(units, axis=1) > 2).sum() > 10  # some are on one side
    both = [UNITS.index(unit) for unit in UNITS if unit not in SIDED_UNITS]
    assert all(d.units_of_sides[0][k] == d.units_of_sides[1][k] for d in drawn for k in both)
