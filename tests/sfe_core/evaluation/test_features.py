"""Distances on ImageNet's features: under their network's own name, each photo decoded once."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from torch import Tensor, nn

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.reader import Corpus
from sfe_core.evaluation.evaluate import evaluate
from sfe_core.evaluation.instruments import network_probes
from sfe_core.evaluation.statistics.distances import KernelReference
from tests.sfe_core.conftest import with_settings

NAME = "efficientnet-lite0"


class MeanColours(nn.Module):
    """Stands for the network: the mean of each channel, of levels in 0 to 255."""

    resize = "none"
    weights_sha256 = "ab" * 32

    def forward(self, levels: Tensor) -> Tensor:
        return levels.float().mean(dim=(2, 3)) / 255


@pytest.mark.usefixtures("without_plots")
def test_they_stand_beside_the_judges(evaluable: Workspace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(network_probes, "load_efficientnet_lite0", MeanColours)
    decoded: Counter[str] = Counter()
    image = Corpus.image

    def counted(corpus: Corpus, key: str, *rest: object) -> Tensor:
        decoded[key] += 1
        return image(corpus, key, *rest)

    monkeypatch.setattr(Corpus, "image", counted)
    workspace = with_settings(evaluable, evaluate={"features": ["judge", NAME]})
    for cached in (evaluable.evaluation / ".readings").iterdir():
        cached.unlink()
    summary = evaluate(workspace)
    corpus = Corpus.open(workspace)
    keys = {name: corpus.split(name)["key"].tolist() for name in ("train", "val300")}
    assert {decoded[key] for key in keys["train"]} == {1}

    def colours(key: str) -> np.ndarray:
        levels = ((image(corpus, key, 64) + 1) * 127.5).round() / 255
        return levels.double().mean(dim=(1, 2)).numpy()

    held = KernelReference(np.stack([colours(key) for key in keys["train"]]))
    expected = held.distance(np.stack([colours(key) for key in keys["val300"]]))
    found = summary.scores["real"][f"kernel_{NAME}"]
    assert found.value == pytest.approx(expected, abs=1e-6) and found.backend == NAME
    assert found.low is not None and found.low <= found.value <= found.high
    assert summary.metrics[f"frechet_{NAME}"].title == f"Fréchet ({NAME})"
    assert not {"fid", "kid"} & summary.metrics.keys()
    assert f"frechet_{NAME}" in summary.deltas["guided"]
    assert "frechet_random-judge" in summary.metrics
    tex = (summary.folder / "table.tex").read_text("utf-8")
    assert tex.count(f"({NAME})") == 2
    nearest = next(one for one in summary.published if one.title == "FID")
    assert nearest.metric == f"frechet_{NAME}" and "FID there" in nearest.differences[0]
