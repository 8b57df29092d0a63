"""The encoder: torchvision's ResNet by names and numbers, and what freezing it keeps."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torchvision.models import resnet18, resnet50

from sfe_core.diffusion.physical.appearance_encoder import AppearanceEncoder


@pytest.mark.parametrize(
    ("kind", "theirs", "parameters"),
    [("resnet18", resnet18, 11_209_344), ("resnet50", resnet50, 23_639_168)],
)
def test_it_is_torchvisions_network_down_to_the_code(kind, theirs, parameters):
    with torch.device("meta"):
        ours, wanted = AppearanceEncoder(kind), theirs(num_classes=64)
    shapes = {name: tensor.shape for name, tensor in ours.state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in wanted.state_dict().items()}
    assert sum(parameter.numel() for parameter in ours.parameters()) == parameters


@pytest.mark.parametrize("kind", ["resnet18", "resnet50"])
def test_a_narrow_one_has_the_same_names(kind):
    narrow = AppearanceEncoder(kind, latent_width=5, width=8).eval()
    with torch.device("meta"):
        assert list(narrow.state_dict()) == list(AppearanceEncoder(kind).state_dict())
    assert narrow(torch.randn(2, 3, 32, 32)).shape == (2, 5)
    assert sum(parameter.numel() for parameter in narrow.parameters()) < 500_000


def statistics(encoder: nn.Module) -> dict[str, torch.Tensor]:
    return {name: buffer.clone() for name, buffer in encoder.named_buffers()}


def test_frozen_it_keeps_its_statistics_through_training_mode():
    encoder = AppearanceEncoder(latent_width=5, width=8).train()
    pictures = torch.randn(4, 3, 32, 32)
    before = statistics(encoder)
    encoder(pictures)
    drifted = statistics(encoder)
    assert not torch.equal(before["bn1.running_mean"], drifted["bn1.running_mean"])

    encoder.freeze()
    for one in (encoder, copy.deepcopy(encoder)):
        holder = nn.Sequential(one).train()
        assert holder.training and not any(module.training for module in one.modules())
        together = one(pictures)
        after = statistics(one)
        assert all(torch.equal(drifted[name], after[name]) for name in drifted)
        # A photo's code does not depend on what else is in its batch.
        torch.testing.assert_close(one(pictures[:1]), together[:1], atol=1e-5, rtol=1e-5)
        assert not together.requires_grad
