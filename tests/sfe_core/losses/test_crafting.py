"""The crafting terms: what each aims at, and that it trains what it should and nothing else."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sfe_core.emotions import EMOTIONS
from sfe_core.faces.recognition.reading import EmotionReading
from sfe_core.losses.crafting import alignment_loss, asked_expression

HAPPY = EMOTIONS.index("happy")


def reading(logits: Tensor) -> EmotionReading:
    nothing = torch.zeros(len(logits))
    return EmotionReading(logits, nothing, nothing, logits)


def test_it_aims_at_the_prompts_emotion_and_leaves_out_what_nobody_asked_or_knows():
    logits = torch.zeros(4, 7, requires_grad=True)  # a recogniser without contempt
    asked = torch.zeros(4, len(EMOTIONS))
    asked[0, HAPPY] = asked[2, EMOTIONS.index("contempt")] = asked[3, 0] = 1.0
    values = asked_expression(reading(logits), asked)
    assert values.tolist() == pytest.approx([math.log(7), 0.0, 0.0, math.log(7)])
    values.sum().backward()
    assert (logits.grad.abs().sum(1) > 0).tolist() == [True, False, False, True]
    # Downhill is towards the emotion asked for, away from every other.
    assert logits.grad[0, HAPPY] < 0 and logits.grad[0].sum().abs() < 1e-6


def test_half_an_expression_is_seen_as_often_as_neutral():
    logits = torch.zeros(1, 8, requires_grad=True)
    half = torch.zeros(1, 8)
    half[0, 0] = half[0, HAPPY] = 0.5
    optimiser = torch.optim.Adam([logits], lr=0.1)
    for _ in range(300):
        optimiser.zero_grad()
        asked_expression(reading(logits), half).sum().backward()
        optimiser.step()
    assert logits.softmax(1)[0, [0, HAPPY]].tolist() == pytest.approx([0.5, 0.5], abs=0.01)


def features(seed: int, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(2, 8, 4, 4, generator=generator)


def test_inside_the_mask_the_expressions_features_are_wanted_outside_the_persons():
    expression, identity = features(1), features(2)
    mask = torch.zeros(2, 1, 4, 4)
    mask[:, :, :2] = 1.0
    wanted = torch.where(mask.bool(), expression, identity)
    assert alignment_loss(wanted, expression, identity, mask).abs().max() < 1e-6
    turned = torch.where(mask.bool(), identity, expression)
    assert alignment_loss(turned, expression, identity, mask).min() > 1.0
    # Half inside, half outside, each half as far off as the whole is from the other's.
    half = alignment_loss(identity, expression, identity, mask)
    whole = alignment_loss(identity, expression, identity, torch.ones_like(mask))
    assert 0 < float(half.sum()) < float(whole.sum())


def test_scale_and_offset_of_features_do_not_count():
    fused, mask = features(3), torch.rand(2, 1, 4, 4)
    plain = alignment_loss(fused, features(1), features(2), mask)
    other = alignment_loss(50 * fused + 7, 30 * features(1), features(2) - 5, mask)
    torch.testing.assert_close(plain, other, rtol=1e-4, atol=1e-4)


def test_opposite_features_are_farthest():
    fused = features(4)
    found = alignment_loss(fused, -fused, fused, torch.ones(2, 1, 4, 4))
    assert found.tolist() == pytest.approx([4.0, 4.0], abs=1e-3)


def test_gradient_flows_into_the_fused_features_alone():
    fused, expression, identity = (features(seed).requires_grad_() for seed in (1, 2, 3))
    mask = torch.full((2, 1, 4, 4), 0.5, requires_grad=True)
    alignment_loss(fused, expression, identity, mask).sum().backward()
    assert (fused.grad.flatten(1).abs().sum(1) > 0).all()
    assert expression.grad is None and identity.grad is None and mask.grad is None


def test_half_precision_features_do_not_overflow():
    values = [features(seed, scale=1e4).half() for seed in (1, 2, 3)]
    found = alignment_loss(*values, torch.ones(2, 1, 4, 4).half())
    assert found.dtype == torch.float32 and found.isfinite().all()
