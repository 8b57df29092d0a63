"""The noise term by hand."""

from __future__ import annotations

import pytest
import torch

from sfe_core.errors import UserError
from sfe_core.losses.noise import (
    min_snr_weight,
    noise_huber,
    noise_l1,
    noise_l2,
    noise_loss,
)


def test_l1_per_image():
    prediction, target = torch.zeros(2, 1, 2, 2), torch.ones(2, 1, 2, 2)
    target[1, 0, 0, 0] = -5.0
    assert noise_l1(prediction, target).tolist() == [1.0, 2.0]


def test_l2_per_image():
    prediction, target = torch.zeros(2, 1, 2, 2), torch.ones(2, 1, 2, 2)
    target[1, 0, 0, 0] = -5.0
    assert noise_l2(prediction, target).tolist() == [1.0, 7.0]


def test_huber_is_square_below_delta_and_linear_above():
    errors = torch.tensor([0.1, -0.5, 0.5, 2.0, -10.0]).view(5, 1, 1, 1)
    values = noise_huber(errors, torch.zeros_like(errors), 0.5)
    torch.testing.assert_close(values, torch.tensor([0.005, 0.125, 0.125, 0.875, 4.875]))


@pytest.mark.parametrize("kind", ["l1", "l2", "huber"])
def test_each_kind_measures_in_float32_and_carries_gradient(kind):
    prediction = torch.full((2, 1, 2, 2), 0.25, dtype=torch.bfloat16, requires_grad=True)
    values = noise_loss(kind, 0.1)(prediction, torch.zeros(2, 1, 2, 2))
    values.sum().backward()
    assert values.shape == (2,) and values.dtype == torch.float32
    assert (prediction.grad > 0).all()


def test_unknown_kind():
    with pytest.raises(UserError, match="loss.noise_loss.*'l3'.*l1, l2, huber"):
        noise_loss("l3", 0.1)


@pytest.mark.parametrize(
    ("kind", "gamma", "weights"),
    [
        ("epsilon", 5.0, [1.0, 1.0, 0.5]),
        ("epsilon", 0.8, [1.0, 0.4, 0.08]),
        ("v_prediction", 5.0, [0.5 / 1.5, 2 / 3, 5 / 11]),
        ("epsilon", None, [1.0, 1.0, 1.0]),
    ],
)
def test_min_snr(kind, gamma, weights):
    result = min_snr_weight(torch.tensor([0.5, 2.0, 10.0]), gamma, kind)
    torch.testing.assert_close(result, torch.tensor(weights))


def test_no_signal_at_all_weighs_one():
    assert min_snr_weight(torch.zeros(1), 5.0, "epsilon").tolist() == [1.0]


def test_other_prediction_types_are_refused():
    with pytest.raises(UserError, match="'sample'.*epsilon, v_prediction"):
        min_snr_weight(torch.ones(1), 5.0, "sample")
