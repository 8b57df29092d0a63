from __future__ import annotations

import numpy as np
import pytest

from sfe_core.controls.asked_expression import AskedExpression
from sfe_core.controls.circumplex import expression_at
from sfe_core.controls.emotion_prototypes import PROTOTYPES
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError
from sfe_core.faces.head import ACTION_NAMES


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_an_emotions_own_place_is_that_emotion_in_full(emotion: str):
    place = PROTOTYPES[emotion]
    found = expression_at(place.valence, place.arousal)
    assert found.emotion == emotion
    assert found.intensity == pytest.approx(0.0 if emotion == "neutral" else 1.0)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_halfway_to_the_centre_is_half_the_expression(share: float):
    happy = PROTOTYPES["happy"]
    found = expression_at(share * happy.valence, share * happy.arousal)
    assert (found.emotion, found.intensity) == ("happy", pytest.approx(share))


def test_one_axis_alone_leaves_the_other_free():
    assert expression_at(0.85, None) == AskedExpression("happy", 1.0)
    assert expression_at(None, -0.4) == AskedExpression("sad", 1.0)
    assert expression_at(0.0, 0.0) == AskedExpression("neutral", 0.0)


def test_a_named_emotion_keeps_its_name_and_takes_its_strength():
    found = expression_at(-0.35, None, "sad")
    assert (found.emotion, found.intensity) == ("sad", pytest.approx(0.5))
    assert expression_at(0.9, None, "sad").intensity == 0.0


@pytest.mark.parametrize("emotion", [name for name in EMOTIONS if name != "neutral"])
def test_actions_grow_from_nothing(emotion: str):
    none, half, full = (AskedExpression(emotion, share).actions() for share in (0.0, 0.5, 1.0))
    assert full.shape == (len(ACTION_NAMES),)
    assert not none.any() and (half <= full + 1e-9).all() and half.sum() < full.sum()
    right = np.array([name.endswith("Right") for name in ACTION_NAMES])
    left = np.array([name.endswith("Left") for name in ACTION_NAMES])
    if emotion == "contempt":
        assert full[left].any() and not full[right].any()
    else:
        assert full[left].sum() == pytest.approx(full[right].sum())


def test_what_is_not_on_the_circumplex_is_refused():
    for call, said in (
        (lambda: expression_at(1.2, None), "--valence"),
        (lambda: expression_at(None, -2.0), "--arousal"),
        (lambda: expression_at(None, None), "neither is given"),
        (lambda: AskedExpression("joy"), "--emotion: 'joy'.*happy"),
        (lambda: AskedExpression("sad", 1.6), "intensity"),
    ):
        with pytest.raises(UserError, match=said):
            call()
