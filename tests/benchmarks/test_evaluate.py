"""Pictures per second through an evaluation, beside a loop that only runs its networks."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.reader import Corpus
from sfe_core.evaluation.evaluate import evaluate
from sfe_core.faces.backends import load_detector
from sfe_core.faces.recognition.recognisers import load_recogniser
from sfe_core.losses.perceptual import load_perceptual
from sfe_core.sampling.pictures import draw_series
from tests.benchmarks.measure import compare
from tests.sfe_core.evaluation.conftest import write_package

pytestmark = pytest.mark.benchmark
SPLIT = "train"
DETECTION_PX = 256


@torch.inference_mode()
def bare(workspace: Workspace, folders: list[Path]) -> int:
    """Read every picture, judge it, hold it against its photo, look for its face."""
    settings, side = workspace.config.evaluate, workspace.config.model.resolution
    judge, detector = load_recogniser(settings.judge), load_detector(settings.detector, 64)
    perceptual = load_perceptual(settings.perceptual_network)
    corpus = Corpus.open(workspace)
    keys = corpus.split(SPLIT)["key"].tolist()
    photos = torch.stack([corpus.image(key, side) for key in keys])
    drawn = [
        torch.stack(
            [
                torch.from_numpy(np.array(Image.open(folder / f"{key}.png"))).permute(2, 0, 1)
                for key in keys
            ]
        )
        / 127.5
        - 1
        for folder in folders
    ]
    for pictures in [*drawn, photos]:
        judge(pictures)
        if pictures is not photos:
            perceptual(pictures, photos)
        large = F.interpolate(pictures, size=(DETECTION_PX, DETECTION_PX), mode="bicubic")
        levels = ((large.clamp(-1, 1) + 1) * 127.5).byte().permute(0, 2, 3, 1).numpy()
        for picture in levels:
            detector.detect(np.ascontiguousarray(picture))
    return (len(folders) + 1) * len(keys)


@pytest.mark.parametrize("again", [False, True], ids=["first", "again"])
def test_pictures(corpus: Workspace, tmp_path: Path, again: bool):
    shutil.copytree(corpus.corpus, tmp_path / "corpus")
    workspace = Workspace(tmp_path, corpus.config)
    write_package(workspace, Path(workspace.config.model.base))
    folders = [draw_series(workspace, SPLIT, v).folder for v in ("base", "text", "guided")]
    if again:
        evaluate(workspace, SPLIT)

    def ours() -> int:
        if not again:
            shutil.rmtree(workspace.evaluation, ignore_errors=True)
        summary = evaluate(workspace, SPLIT)
        return len(summary.scores) * summary.pictures

    title = f"evaluate, {'again (cached)' if again else 'first'}, with report"
    compare(title, "pictures", ours, lambda: bare(workspace, folders))
