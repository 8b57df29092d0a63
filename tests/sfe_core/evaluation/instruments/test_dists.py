"""DISTS: its authors' own numbers, and what they must mean."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torchvision.models.vgg import cfgs, make_layers

from sfe_core.errors import RunError, UserError
from sfe_core.evaluation.instruments.dists import Dists, L2Pool, load_dists

pytest.importorskip("DISTS_pytorch")


@pytest.fixture(scope="module")
def backbone() -> torch.nn.Module:
    """VGG16 with random weights, large enough that its features say something."""
    torch.manual_seed(0)
    # The classifier holds nine tenths of VGG16's weights and has no part in DISTS.
    network = torch.nn.Module()
    network.features = make_layers(cfgs["D"])
    for module in network.features:
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return network


@pytest.fixture(scope="module")
def channel_weights() -> dict[str, torch.Tensor]:
    from sfe_core.assets import locate

    return torch.load(locate("dists"), weights_only=True)


@pytest.fixture(scope="module")
def distance(backbone, channel_weights) -> Dists:
    return Dists(backbone.features, channel_weights["alpha"], channel_weights["beta"])


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    return torch.rand(4, 3, 45, 38, generator=torch.Generator().manual_seed(1)) * 2 - 1


@torch.inference_mode()
def test_it_is_the_authors_own(
    backbone, channel_weights, distance: Dists, pictures, monkeypatch: pytest.MonkeyPatch
):
    from DISTS_pytorch import DISTS_pt as published

    monkeypatch.setattr(published.models, "vgg16", lambda **_: backbone)
    theirs = published.DISTS(load_weights=False)
    theirs.alpha.data, theirs.beta.data = channel_weights["alpha"], channel_weights["beta"]
    unit = (pictures + 1) / 2
    expected = theirs(unit[:2], unit[2:])
    found = distance(pictures[:2], pictures[2:])
    assert expected.min() > 0.05, "the pictures must differ"
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_equal_pictures_are_at_no_distance_and_it_is_symmetric(distance: Dists, pictures):
    first, second = pictures[:2], pictures[2:]
    assert distance(first, first).abs().max() < 1e-5
    torch.testing.assert_close(distance(first, second), distance(second, first))


@torch.inference_mode()
def test_pairs_do_not_depend_on_their_batch(distance: Dists, pictures):
    together = distance(pictures[:2], pictures[2:])
    alone = torch.cat([distance(pictures[i : i + 1], pictures[i + 2 : i + 3]) for i in (0, 1)])
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=1e-4)


def test_l2_pooling_of_a_constant_is_the_constant():
    pooled = L2Pool(2)(torch.full((1, 2, 9, 8), -3.0))
    assert pooled.shape == (1, 2, 5, 4)
    # The border sees zeros beyond the edge; the inside does not.
    torch.testing.assert_close(pooled[..., 1:-1, 1:-1], torch.full((1, 2, 3, 2), 3.0))


def test_missing_or_wrong_weights_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "vgg.pth"
    torch.save({"layer": torch.zeros(1)}, path)
    with pytest.raises(RunError, match="DISTS"):
        load_dists(path)
    monkeypatch.setenv("SFE_ASSETS", str(tmp_path))
    with pytest.raises(UserError, match="vgg16"):
        load_dists()
