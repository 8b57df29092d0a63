"""The checkpoint that StableFaceEmotion published runs as it is: no packaging, no conversion."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sfe_core.config.workspace import Workspace
from sfe_core.sampling.pictures import draw_series
from sfe_core.sampling.triptych import make_triptychs
from tests.published import save_published
from tests.tiny_workspace import SPLIT, make_workspace


@pytest.fixture
def workspace(tiny_base, tmp_path) -> Workspace:
    return make_workspace(tmp_path / "work", tiny_base, count=1)


def test_triptychs_of_the_published_folder_follow_the_maps(
    workspace: Workspace, tiny_base: Path, tmp_path: Path
):
    folder = save_published(tmp_path / "RealisticEmotionStableDiffusion", tiny_base)
    summary = make_triptychs(workspace, package=folder)
    assert (summary.total, summary.composed, summary.fine_tuned_drawn) == (1, 1, 1)
    pictures = {}
    for variant in ("text", "guided"):
        series = draw_series(workspace, SPLIT, variant, folder)
        path = next(series.folder.rglob("*.png"))
        pictures[variant] = np.asarray(Image.open(path), np.int16)
    assert series.settings.strengths == {"landmarks": 1.0, "depth": 1.0, "mesh": 1.0}
    assert np.abs(pictures["guided"] - pictures["text"]).max() > 3
