"""Batching and half precision must not change what the judge sees.

With SFE_DEMO naming the folder that `sfe demo` made: on its trained package and the captions and
maps of its training split, which is as many pictures as a share of one in a hundred needs.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from sfe_core.config.loading import load_workspace
from sfe_core.config.model import Config
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.reader import Corpus
from sfe_core.evaluation.pictures import DrawnPictures
from sfe_core.faces.recognition.recognisers import load_recogniser
from sfe_core.packaging.listing import newest_package
from sfe_core.sampling.pictures import draw_series
from tests.sfe_core.evaluation.conftest import face, write_faces, write_package

__all__ = ["face"]
pytestmark = pytest.mark.benchmark
PICTURES = 48
WAYS = {
    "batches of 1": {"batch_size": 1},
    "batches of 7": {"batch_size": 7},
    "bfloat16": {"precision": "bfloat16"},
    "float16": {"precision": "float16"},
}


def labels(
    workspace: Workspace, split: str, package: Path, folder: Path, **sampling: object
) -> np.ndarray:
    """[N] first emotion that the judge sees in pictures drawn in one way, below `folder`."""
    changed = workspace.config.sampling.model_copy(update=sampling)
    config = workspace.config.model_copy(update={"sampling": changed})
    root = folder / "-".join(map(str, sampling.values()))
    root.mkdir(parents=True)
    (root / "corpus").symlink_to(workspace.corpus)
    one = Workspace(root, config)
    drawn = draw_series(one, split, "guided", package)
    keys = Corpus.open(one).split(split)["key"]
    pictures = DrawnPictures(drawn.folder)
    side = config.model.resolution
    stack = torch.stack([pictures.picture(key, side).image for key in keys])
    with torch.inference_mode():
        return load_recogniser(config.evaluate.judge)(stack).logits.argmax(1).numpy()


@pytest.fixture
def drawable(settings: Config, face, tmp_path: Path) -> tuple[Workspace, str, Path]:
    """A workspace, a split and a package: those of SFE_DEMO, or a few faces and a shaken model."""
    demo = os.environ.get("SFE_DEMO")
    if demo:
        workspace = load_workspace(Path(demo), ())
        return workspace, "train", newest_package(workspace)
    sampling = settings.sampling.model_copy(update={"steps": 10, "batch_size": 8})
    workspace = Workspace(tmp_path / "made", settings.model_copy(update={"sampling": sampling}))
    write_faces(workspace, face, counts=(PICTURES, 1))
    return workspace, "val300", write_package(workspace, Path(settings.model.base))


def test_no_label_changes(drawable: tuple[Workspace, str, Path], tmp_path: Path):
    """At most one in a hundred, in every way of drawing; the shipped tiny models."""
    expected = labels(*drawable, tmp_path / "drawn", precision="float32")
    shares = {}
    for way, changes in WAYS.items():
        found = labels(*drawable, tmp_path / "drawn", **({"precision": "float32"} | changes))
        shares[way] = float((found != expected).mean())
        told = f"{100 * shares[way]:5.1f} % of {len(expected)} judged labels changed"
        print(f"\n{way:<16} {told}", flush=True)
    assert shares["batches of 1"] <= 0.01 and shares["batches of 7"] <= 0.01
