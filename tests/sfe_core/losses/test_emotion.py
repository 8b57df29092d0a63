"""The emotion terms by hand, and which side carries gradient."""

from __future__ import annotations

import pytest
import torch

from sfe_core.faces.recognisers import EmotionReading
from sfe_core.losses.emotion import arousal_l1, expression_l1, valence_l1


def reading(logits: list[list[float]], valence: list[float], arousal: list[float]):
    tensors = [torch.tensor(v, requires_grad=True) for v in (logits, valence, arousal)]
    return EmotionReading(*tensors, features=torch.zeros(len(valence), 1))


@pytest.fixture
def drawn():
    return reading([[0.0] * 8, [1.0] * 8], [0.5, -1.0], [0.0, 0.25])


@pytest.fixture
def real():
    return reading([[1.0] * 8, [1.0] * 7 + [9.0]], [-0.5, 1.0], [0.5, 0.25])


def test_values(drawn, real):
    assert valence_l1(drawn, real).tolist() == [1.0, 2.0]
    assert arousal_l1(drawn, real).tolist() == [0.5, 0.0]
    assert expression_l1(drawn, real).tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("term", "part"),
    [(valence_l1, "valence"), (arousal_l1, "arousal"), (expression_l1, "logits")],
)
def test_gradient_reaches_the_drawn_face_and_never_the_target(drawn, real, term, part):
    term(drawn, real).sum().backward()
    assert getattr(drawn, part).grad.abs().sum() > 0
    assert getattr(real, part).grad is None
