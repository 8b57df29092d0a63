"""Background of edits: what changed outside the person, and nothing of drawn pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.reader import Corpus
from sfe_core.evaluation.evaluate import evaluate
from sfe_core.evaluation.instruments import network_probes
from tests.sfe_core.conftest import with_settings


class LeftHalf(nn.Module):
    """Stands for the mask: the person is the left half of every picture."""

    def forward(self, images: Tensor) -> Tensor:
        mask = torch.zeros_like(images[:, :1])
        mask[..., : images.shape[-1] // 2] = 1.0
        return mask


@pytest.mark.usefixtures("without_plots")
def test_it_is_the_mean_change_outside_the_person(
    evaluable: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(network_probes, "load_person_mask", LeftHalf)
    corpus = Corpus.open(evaluable)
    keys = corpus.split("val300")["key"].tolist()
    for key in keys:
        photo = ((corpus.image(key, 64) + 1) * 127.5).round()
        edited = torch.where(photo > 127, photo - 20, photo + 20)
        edited[..., :32] = 255 - photo[..., :32]  # the person may change as it will
        path = tmp_path / "edits" / f"{key}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(edited.byte().permute(1, 2, 0).numpy()).save(path)
    workspace = with_settings(evaluable, evaluate={"background": True})
    summary = evaluate(workspace, images={"edits": tmp_path / "edits"})
    found = summary.scores["edits"]["background"]
    assert found.value == pytest.approx(20, abs=0.5) and found.backend == "selfie"
    assert summary.scores["real"]["background"].value is None
    assert summary.instruments["background"].kind == "mask"
    table = pd.read_csv(summary.folder / "per_image.csv")
    assert np.isfinite(table["edits_background"]).all() and "orig_background" not in table

    drawn = evaluate(workspace)
    assert "background" not in drawn.metrics
    assert any("evaluate.background, of edited photos alone" in note for note in drawn.notes)


def test_a_picture_that_the_person_fills_has_none():
    probe = network_probes.BackgroundProbe.__new__(network_probes.BackgroundProbe)
    probe.network = lambda images: torch.ones_like(images[:, :1])
    images = torch.zeros(2, 3, 8, 8)
    batch = type("Both", (), {"images": images, "photos": images + 1})()
    assert np.isnan(probe.read(batch)["difference"]).all()
