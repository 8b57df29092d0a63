"""One expression, asked for in every way, and each way turned into the others."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from sfe_core.controls.asked_expression import AskedExpression, nearest_emotion
from sfe_core.controls.circumplex import expression_at
from sfe_core.controls.facial_actions import (
    ASKABLE_UNITS,
    READABLE_UNITS,
    actions_of_units,
    is_sided,
    units_of_actions,
)
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError
from sfe_core.faces.head import ACTION_NAMES

SHOWN = [name for name in EMOTIONS if name != "neutral"]


@pytest.mark.parametrize("strength", [0.2, 0.6, 1.0])
@pytest.mark.parametrize("emotion", SHOWN)
def test_a_word_comes_back_from_units_and_from_blendshapes(emotion: str, strength: float) -> None:
    asked = AskedExpression(emotion, strength)
    assert nearest_emotion(asked.unit_intensities()) == (emotion, pytest.approx(strength))
    again = asked.as_blendshapes()
    assert np.allclose(again.actions(), asked.actions())
    if not (asked.actions() >= 2.3).any():
        assert nearest_emotion(again.unit_intensities()) == (
            emotion, pytest.approx(strength, abs=0.02),
        )  # fmt: skip
    assert np.allclose(asked.as_units().actions(), asked.actions())


@pytest.mark.parametrize("emotion", SHOWN)
def test_a_place_on_the_circumplex_comes_back(emotion: str) -> None:
    valence, arousal = AskedExpression(emotion, 0.5).place()
    found = expression_at(valence, arousal)
    assert (found.emotion, found.intensity) == (emotion, pytest.approx(0.5))
    assert AskedExpression(emotion, 0.5).as_units().place() == pytest.approx((valence, arousal))


def test_what_was_asked_on_the_circumplex_is_kept_beside_the_face() -> None:
    asked = expression_at(0.5, 0.5)
    assert asked.place() == (0.5, 0.5) and asked == AskedExpression(asked.emotion, asked.intensity)


@pytest.mark.parametrize("unit", READABLE_UNITS)
def test_each_unit_comes_back_from_its_actions(unit: str) -> None:
    for intensity in (1.0, 2.5, 5.0):
        found = units_of_actions(actions_of_units({unit: (intensity, intensity)}))
        assert found == {unit: (pytest.approx(intensity), pytest.approx(intensity))}
    if is_sided(unit) and unit != "AU25":  # its jaw moves as one
        found = units_of_actions(actions_of_units({unit: (1.0, 4.0)}))
        assert found == {unit: (pytest.approx(1.0), pytest.approx(4.0))}


@pytest.mark.parametrize("unit", ASKABLE_UNITS)
def test_every_unit_moves_the_head_more_the_stronger_it_is(unit: str) -> None:
    steps = [AskedExpression(units=((unit, (x, x)),)).actions() for x in np.linspace(0, 5, 6)]
    moved = [step.sum() for step in steps]
    assert moved[0] == 0 and (np.diff(moved) > 0).all()
    assert all((more >= less - 1e-12).all() for less, more in pairwise(steps))


@pytest.mark.parametrize("emotion", SHOWN)
def test_a_stronger_word_is_stronger_in_every_other_way(emotion: str) -> None:
    steps = [AskedExpression(emotion, share) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    for less, more in pairwise(steps):
        assert (more.actions() >= less.actions() - 1e-9).all()
        assert more.actions().sum() > less.actions().sum()
        assert np.linalg.norm(more.place()) > np.linalg.norm(less.place())
        units = more.unit_intensities()
        for code, sides in less.unit_intensities().items():
            assert units[code] >= sides
        read = [
            sum(map(sum, face.as_blendshapes().unit_intensities().values()))
            for face in (less, more)
        ]
        assert read[1] > read[0]
    whole = AskedExpression(emotion)
    assert np.allclose(whole.scaled(0.5).actions(), AskedExpression(emotion, 0.5).actions())


@pytest.mark.parametrize("emotion", SHOWN)
def test_along_its_line_on_the_circumplex_a_word_grows(emotion: str) -> None:
    valence, arousal = AskedExpression(emotion).place()
    found = [expression_at(valence * share, arousal * share, emotion) for share in (0, 0.3, 0.6, 1)]
    assert [face.intensity for face in found] == pytest.approx([0, 0.3, 0.6, 1])


def test_a_mixture_grows_with_each_of_its_words() -> None:
    shown = [
        AskedExpression(mixture=(("happy", 0.4), ("fear", share))).actions().sum()
        for share in (0.0, 0.3, 0.6, 0.9)
    ]
    assert (np.diff(shown) > 0).all()


def test_a_word_goes_with_the_face_into_other_terms_without_deciding_it() -> None:
    asked = AskedExpression("happy", 0.5)
    for other in (asked.as_blendshapes(), asked.as_units(), asked.as_blendshapes().as_units()):
        assert (other.word, other.emotion) == ("happy", None)
    assert AskedExpression(units=(("AU1", (1.0, 1.0)),), named="sad").record() == {
        "units": {"AU1": [1.0, 1.0]}
    }


def test_a_side_moves_its_own_half_alone() -> None:
    actions = AskedExpression(units=(("AU12", (3.0, 0.0)),)).actions()
    moved = {name for name, value in zip(ACTION_NAMES, actions, strict=True) if value}
    assert moved == {"mouthSmileLeft", "cheekSquintLeft"}


def test_a_mixture_shows_the_units_of_both_and_doubles_none() -> None:
    happy, surprise = AskedExpression("happy", 0.6), AskedExpression("surprise", 0.4)
    mixed = AskedExpression(mixture=(("happy", 0.6), ("surprise", 0.4)))
    parts = [part.unit_intensities() for part in (happy, surprise)]
    for unit, sides in mixed.unit_intensities().items():
        assert sides[0] == pytest.approx(max(part.get(unit, (0.0, 0.0))[0] for part in parts))
    assert set(mixed.unit_intensities()) == set(parts[0]) | set(parts[1])
    assert mixed.word == "happy"
    alone = AskedExpression(mixture=(("fear", 0.5),))
    assert np.allclose(alone.actions(), AskedExpression("fear", 0.5).actions())
    assert mixed.place() == pytest.approx((0.6 * 0.85 + 0.4 * 0.15, 0.6 * 0.35 + 0.4 * 0.8))


def test_units_stand_in_place_of_what_a_word_says_of_them() -> None:
    lopsided = AskedExpression("happy").with_units({"AU12": (5.0, 0.0)}).unit_intensities()
    assert lopsided["AU12"] == (5.0, 0.0) and lopsided["AU6"] == (4.0, 4.0)
    pressed = AskedExpression("happy").with_units({"AU24": (4.0, 4.0)}).unit_intensities()
    assert "AU25" not in pressed and pressed["AU24"] == (4.0, 4.0)


def test_a_words_record_is_what_it_was() -> None:
    assert AskedExpression("sad", 0.5).record() == {"emotion": "sad", "intensity": 0.5}
    assert AskedExpression(units=(("AU12", (3.0, 0.0)),)).record() == {
        "units": {"AU12": [3.0, 0.0]}
    }


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"units": (("AU99", (1.0, 1.0)),)}, "AU99: is not a unit"),
        ({"units": (("AU30", (1.0, 1.0)),)}, "AU30: the head cannot show it"),
        ({"units": (("AU12", (6.0, 1.0)),)}, "AU12: 6; give 0 to 5"),
        ({"units": (("AU12", (float("nan"), 1.0)),)}, "AU12: nan"),
        ({"units": (("AU26", (3.0, 1.0)),)}, "moves both halves"),
        ({"units": (("AU24", (3.0, 3.0)), ("AU25", (3.0, 3.0)))}, "at once"),
        ({"units": (("AU5", (2.0, 2.0)), ("AU45", (3.0, 3.0)))}, "at once"),
        ({"units": (("AU6", (3.0, 3.0)), ("AU6", (2.0, 2.0)))}, "twice"),
        ({"mixture": (("joy", 0.5),)}, "--mix: 'joy'"),
        ({"mixture": (("happy", 1.6),)}, "--mix happy: 1.6"),
        ({"emotion": "sad", "mixture": (("happy", 0.5),)}, "together with --emotion"),
        ({"blendshapes": (("smile", 0.5),)}, "'smile' is unknown"),
        ({"blendshapes": (("jawOpen", 3.0),)}, "jawOpen: 3"),
        ({"emotion": "sad", "blendshapes": (("jawOpen", 0.5),)}, "say all of the face"),
    ],
)
def test_the_unknown_and_the_contradictory_are_refused(asked, said: str) -> None:
    with pytest.raises(UserError, match=said):
        AskedExpression(**asked)
