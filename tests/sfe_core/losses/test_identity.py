"""The identity term: near the person, whoever is on the photo, and a mean that no photo rules."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sfe_core.faces.recognition.tiny_identity import load_identity_net
from sfe_core.losses.identity import identity_loss, mean_identity


class Tint(nn.Module):
    """An embedder to compute by hand: an image's mean colour."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3))


def test_length_does_not_count_and_only_the_drawn_face_has_a_gradient():
    drawn = torch.tensor([[3.0, 4.0], [0.0, -2.0]], requires_grad=True)
    wanted = torch.tensor([[1.0, 0.0], [0.0, 5.0]], requires_grad=True)
    values = identity_loss(drawn, wanted)
    assert values.tolist() == pytest.approx([1 - 0.6, 2.0])
    values.sum().backward()
    assert drawn.grad[0].abs().sum() > 0 and wanted.grad is None


def test_every_photo_of_an_album_counts_alike():
    red, dim_green = torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)
    red[:, 0], dim_green[:, 1] = 1.0, 0.01
    person = mean_identity(Tint(), [red, dim_green])
    assert person.tolist() == pytest.approx([0.5**0.5, 0.5**0.5, 0.0])
    together = mean_identity(Tint(), [torch.cat([red, dim_green])])
    torch.testing.assert_close(together, person)
    assert not person.requires_grad


def test_the_embedded_network_has_a_gradient_and_stays_as_it_is():
    network = load_identity_net()
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    person = mean_identity(network, [images[:1]])
    drawn = images[1:].clone().requires_grad_()
    value = identity_loss(network(drawn), person[None])
    value.sum().backward()
    assert value.item() > 0 and drawn.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in network.parameters())
