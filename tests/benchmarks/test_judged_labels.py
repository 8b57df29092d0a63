"""Batching and half precision must not change what the judge sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sfe_core.config.model import Config
from sfe_core.config.workspace import Workspace
from sfe_core.evaluation.pictures import DrawnPictures
from sfe_core.faces.recognisers import load_recogniser
from sfe_core.sampling.pictures import draw_series
from tests.sfe_core.evaluation.conftest import face, write_corpus, write_package

__all__ = ["face"]
pytestmark = pytest.mark.benchmark
PICTURES = 48
WAYS = {
    "batches of 1": {"batch_size": 1},
    "batches of 7": {"batch_size": 7},
    "bfloat16": {"precision": "bfloat16"},
    "float16": {"precision": "float16"},
}


def labels(workspace: Workspace, package: Path, **sampling: object) -> np.ndarray:
    """[N] first emotion that the judge sees in pictures drawn in one way."""
    changed = workspace.config.sampling.model_copy(update=sampling)
    config = workspace.config.model_copy(update={"sampling": changed})
    folder = workspace.root / "-".join(map(str, sampling.values()))
    (folder / "corpus").parent.mkdir()
    (folder / "corpus").symlink_to(workspace.corpus)
    one = Workspace(folder, config)
    drawn = draw_series(one, "val300", "guided", package)
    from sfe_core.corpus.reader import Corpus

    keys = Corpus.open(one).split("val300")["key"]
    pictures = DrawnPictures(drawn.folder)
    stack = torch.stack([pictures.picture(key, 64).image for key in keys])
    with torch.inference_mode():
        return load_recogniser(config.evaluate.judge)(stack).logits.argmax(1).numpy()


def test_no_label_changes(settings: Config, face, tmp_path: Path):
    """At most one in a hundred, in every way of drawing; the shipped tiny models."""
    sampling = settings.sampling.model_copy(update={"steps": 10, "batch_size": 8})
    workspace = Workspace(tmp_path, settings.model_copy(update={"sampling": sampling}))
    write_corpus(workspace, face, counts=(PICTURES, 1))
    package = write_package(workspace, Path(settings.model.base))
    expected = labels(workspace, package, precision="float32")
    shares = {}
    for way, changes in WAYS.items():
        found = labels(workspace, package, **({"precision": "float32"} | changes))
        shares[way] = float((found != expected).mean())
        print(f"\n{way:<16} {100 * shares[way]:5.1f} % of {PICTURES} judged labels changed")
    assert shares["batches of 1"] <= 0.01 and shares["batches of 7"] <= 0.01
