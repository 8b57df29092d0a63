"""Inception features per second, beside pytorch-fid on the same pictures and weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sfe_core.evaluation.instruments.inception import load_inception
from sfe_core.evaluation.instruments.probes import as_features
from sfe_core.evaluation.pictures import DrawnPictures
from sfe_core.evaluation.statistics.distances import FrechetReference
from tests.benchmarks.measure import compare
from tests.sfe_core.evaluation.inception_weights import random_inception

pytestmark = pytest.mark.benchmark
PICTURES, SIDE_PX, BATCH = 24, 256, 8


@pytest.fixture
def keys(tmp_path: Path) -> list[str]:
    random = np.random.default_rng(0)
    for place in range(PICTURES):
        small = random.integers(0, 256, (12, 12, 3), dtype=np.uint8)
        Image.fromarray(small).resize((SIDE_PX, SIDE_PX)).save(tmp_path / f"{place:03d}.png")
    return [f"{place:03d}" for place in range(PICTURES)]


def test_features(keys: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """At least as many pictures a second, and the same FID to a thousandth."""
    published = pytest.importorskip("pytorch_fid.inception", reason="pip install 'sfe[test]'")
    from pytorch_fid.fid_score import get_activations

    weights = random_inception(tmp_path / "inception.pth")
    monkeypatch.setattr(published, "load_state_dict_from_url", lambda *_, **__: torch.load(weights))
    theirs = published.InceptionV3([3])
    ours = load_inception("pytorch-fid", weights)
    files = [tmp_path / f"{key}.png" for key in keys]
    pictures, found = DrawnPictures(tmp_path), {}

    @torch.inference_mode()
    def read() -> int:
        parts = []
        for start in range(0, len(keys), BATCH):
            loaded = [pictures.picture(k, SIDE_PX).image for k in keys[start : start + BATCH]]
            levels = ((torch.stack(loaded) + 1) * 127.5).round().to(torch.uint8)
            parts.append(as_features(ours(levels)))
        found["ours"] = np.concatenate(parts)
        return len(keys)

    def read_published() -> int:
        found["theirs"] = get_activations(files, theirs, batch_size=BATCH, num_workers=0)
        return len(keys)

    compare(f"FID features, {SIDE_PX} px", "pictures", read, read_published)
    scores = {}
    for name, features in found.items():
        reference = FrechetReference(features[: PICTURES // 2])
        scores[name] = reference.distance(features[PICTURES // 2 :])
    print(f"FID of the two halves: ours {scores['ours']:.5f}, pytorch-fid's {scores['theirs']:.5f}")
    assert scores["ours"] == pytest.approx(scores["theirs"], abs=1e-3)
