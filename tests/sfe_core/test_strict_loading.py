"""Every tensor in its place, or one line that names those that are not."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sfe_core.errors import UserError
from sfe_core.strict_loading import load_strictly


@pytest.fixture
def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))


def test_weights_are_copied_and_an_old_file_may_lack_the_count(network):
    state = {key: torch.full_like(value, 2) for key, value in network.state_dict().items()}
    del state["1.num_batches_tracked"]
    load_strictly(network, state, "file")
    assert (network[0].weight == 2).all() and (network[1].running_mean == 2).all()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"0.bias": None}, "no 0.bias"),
        ({"2.weight": torch.zeros(1)}, "unknown 2.weight"),
        ({"0.weight": torch.zeros(3, 1)}, r"0.weight is \[3, 1\], not \[3, 2\]"),
        (dict.fromkeys(("a", "b", "c", "d", "e"), torch.zeros(1)), "unknown a.* and 2 more"),
        (
            {"0.bias": None, "2.bias": torch.zeros(1), "0.weight": torch.zeros(3, 1)},
            r"no 0.bias; unknown 2.bias; 0.weight is \[3, 1\]",
        ),
    ],
)
def test_misfits_are_named_and_nothing_is_copied(network, change, match):
    state = {key: value.clone() + 1 for key, value in network.state_dict().items()} | change
    before = network[1].weight.clone()
    with pytest.raises(UserError, match=f"weights.pth: does not fit: {match}"):
        load_strictly(network, {k: v for k, v in state.items() if v is not None}, "weights.pth")
    assert torch.equal(network[1].weight, before)
