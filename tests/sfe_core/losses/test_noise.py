"""The noise term by hand."""

from __future__ import annotations

import pytest
import torch

from sfe_core.errors import UserError
from sfe_core.losses.noise import min_snr_weight, noise_l1


def test_l1_per_image():
    prediction, target = torch.zeros(2, 1, 2, 2), torch.ones(2, 1, 2, 2)
    target[1, 0, 0, 0] = -5.0
    assert noise_l1(prediction, target).tolist() == [1.0, 2.0]


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
