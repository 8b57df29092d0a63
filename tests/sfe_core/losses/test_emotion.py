"""The emotion terms by hand, and which side carries gradient."""

from __future__ import annotations

import math

import pytest
import torch

from sfe_core.errors import UserError
from sfe_core.faces.recognition.reading import EmotionReading
from sfe_core.losses.emotion import (
    EXPRESSION_LOSSES,
    arousal_l1,
    expression_cross_entropy,
    expression_kl,
    expression_l1,
    expression_loss,
    features_l1,
    valence_l1,
)
from sfe_core.losses.emotion_target import EmotionTarget


def drawn_face() -> EmotionReading:
    tensors = [[[0.0] * 8, [1.0] * 8], [0.5, -1.0], [0.0, 0.25], [[1.0, 2.0], [0.0, 0.0]]]
    return EmotionReading(*(torch.tensor(value, requires_grad=True) for value in tensors))


def wanted_face() -> EmotionTarget:
    tensors = {
        "logits": [[1.0] * 8, [1.0] * 7 + [9.0]],
        "features": [[1.0, 1.0], [3.0, -1.0]],
        "valence": [-0.5, 1.0],
        "arousal": [0.5, 0.25],
        "emotion": [[1.0] + [0.0] * 7, [0.5, 0.5] + [0.0] * 6],
    }
    made = {name: torch.tensor(value, requires_grad=True) for name, value in tensors.items()}
    return EmotionTarget(**made)


def test_values():
    drawn, wanted = drawn_face(), wanted_face()
    assert valence_l1(drawn, wanted).tolist() == [1.0, 2.0]
    assert arousal_l1(drawn, wanted).tolist() == [0.5, 0.0]
    assert expression_l1(drawn, wanted).tolist() == [1.0, 1.0]
    assert features_l1(drawn, wanted).tolist() == [0.5, 2.0]
    # All logits alike: every emotion has probability 1/8, whatever the label.
    assert expression_cross_entropy(drawn, wanted).tolist() == pytest.approx([math.log(8)] * 2)


def test_kl_by_hand():
    # p = (2/3, 1/3), q = (1/2, 1/2).
    drawn = EmotionReading(torch.zeros(1, 2), *[torch.zeros(1)] * 3)
    wanted = EmotionTarget(logits=torch.tensor([[math.log(2.0), 0.0]]))
    by_hand = 2 / 3 * math.log(4 / 3) + 1 / 3 * math.log(2 / 3)
    assert expression_kl(drawn, wanted).item() == pytest.approx(by_hand)
    same = EmotionReading(wanted["logits"] + 5, *[torch.zeros(1)] * 3)
    assert expression_kl(same, wanted).item() == pytest.approx(0.0, abs=1e-6)


def test_cross_entropy_is_least_for_the_label_and_falls_with_it():
    wanted = EmotionTarget(emotion=torch.eye(8)[[2, 2]])
    logits = torch.zeros(2, 8)
    logits[0, 2], logits[1, 5] = 4.0, 4.0
    right, wrong = expression_cross_entropy(
        EmotionReading(logits, *[torch.zeros(2)] * 3), wanted
    ).tolist()
    assert right == pytest.approx(math.log(7 + math.exp(4)) - 4)
    assert wrong == pytest.approx(math.log(7 + math.exp(4)))


@pytest.mark.parametrize(
    ("term", "part"),
    [
        (valence_l1, "valence"),
        (arousal_l1, "arousal"),
        (expression_l1, "logits"),
        (expression_kl, "logits"),
        (expression_cross_entropy, "logits"),
        (features_l1, "features"),
    ],
)
def test_gradient_reaches_the_drawn_face_and_never_the_target(term, part):
    drawn, wanted = drawn_face(), wanted_face()
    term(drawn, wanted).sum().backward()
    assert getattr(drawn, part).grad.abs().sum() > 0
    assert all(value.grad is None for value in wanted.values())


@pytest.mark.parametrize("name", EXPRESSION_LOSSES)
def test_half_precision_readings_give_float32(name):
    drawn = EmotionReading(torch.zeros(1, 8, dtype=torch.bfloat16), *[torch.zeros(1)] * 3)
    values = expression_loss(name)(drawn, wanted_face())
    assert values.dtype == torch.float32


def test_unknown_kind():
    with pytest.raises(UserError, match="'l3'.*l1, cross-entropy, kl"):
        expression_loss("l3")
