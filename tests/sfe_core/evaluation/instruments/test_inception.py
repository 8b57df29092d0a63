"""Inception's features, against the two packages that papers' FID comes from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from sfe_core.errors import RunError, UserError
from sfe_core.evaluation.instruments.inception import Inception, load_inception
from sfe_core.files import sha256_file
from tests.sfe_core.evaluation.inception_weights import random_inception

pytest.importorskip("pytorch_fid", reason="pip install 'sfe[test]'")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_inception(tmp_path_factory.mktemp("inception") / "inception.pth")


@pytest.fixture(scope="module")
def levels() -> torch.Tensor:
    """Two pictures of an odd size, so that both rules have to resize."""
    random = np.random.default_rng(0)
    smooth = random.uniform(0, 255, (2, 3, 6, 7))
    large = torch.nn.functional.interpolate(torch.from_numpy(smooth), (57, 83), mode="bicubic")
    return large.clamp(0, 255).round().to(torch.uint8)


@pytest.fixture(scope="module")
def network(weights: Path) -> Inception:
    """Loading takes longer than reading two pictures; tests set the rule they are about."""
    return load_inception("torch-fidelity", weights)


def agree(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    scale = theirs.abs().max()
    assert scale > 1e-2, "the features must say something"
    assert (ours - theirs).abs().max() < 1e-4 * scale


@torch.inference_mode()
def test_features_are_torch_fidelitys(weights: Path, network: Inception, levels: torch.Tensor):
    theirs = FeatureExtractorInceptionV3("theirs", ["2048"], str(weights))(levels)[0]
    ours = network(levels)
    assert ours.shape == (2, 2048) and ours.dtype == torch.float32
    agree(ours, theirs)


@torch.inference_mode()
def test_features_are_pytorch_fids(
    weights: Path, network: Inception, levels: torch.Tensor, monkeypatch: pytest.MonkeyPatch
):
    from pytorch_fid import inception as published

    # Its weights are the same file at another address.
    monkeypatch.setattr(published, "load_state_dict_from_url", lambda *_, **__: torch.load(weights))
    theirs = published.InceptionV3([3]).eval()(levels / 255.0)[0].flatten(1)
    other = network(levels)
    monkeypatch.setattr(network, "rule", "pytorch-fid")
    ours = network(levels)
    agree(ours, theirs)
    # The other rule gives other numbers: what the setting is for.
    assert (other - ours).abs().max() > 1e-3 * ours.abs().max()


def test_what_is_no_inception_is_an_error_in_one_line(tmp_path: Path):
    path = tmp_path / "weights.pth"
    torch.save({"layer": torch.zeros(2)}, path)
    with pytest.raises(RunError, match="Inception's weights"):
        load_inception("torch-fidelity", path)
    path.write_bytes(b"torn")
    with pytest.raises(RunError, match="weights.pth"):
        load_inception("torch-fidelity", path)


def test_missing_weights_say_where_they_come_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("SFE_ASSETS", str(tmp_path))
    with pytest.raises(UserError, match="sfe assets fetch inception"):
        load_inception("torch-fidelity")


def test_it_stays_in_evaluation_mode_and_knows_its_file(weights: Path, network: Inception):
    assert not network.train().training and not network.stages[0].training
    assert network.weights_sha256 == sha256_file(weights)
