"""Photos to preprocess: a real portrait in many disguises, and a corpus made of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from sfe_core.config.loading import load_workspace
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.preprocessing.preprocess import preprocess


@pytest.fixture(scope="session")
def portrait() -> Image.Image:
    """A face in 160 × 160 pixels, from scikit-image's photo of Eileen Collins."""
    return Image.fromarray(np.ascontiguousarray(skimage.data.astronaut()[40:200, 145:305]))


def make_workspace(root: Path, *settings: str) -> Workspace:
    """A workspace of the tiny preset at a small size, in this process."""
    (root / "photos").mkdir(parents=True, exist_ok=True)
    (root / "sfe.yaml").write_text("preset: tiny\n", encoding="utf-8")
    basics = ["preprocess.workers=1", "preprocess.crop_size=64"]
    return load_workspace(root, [*basics, *settings])


@pytest.fixture(scope="session")
def small_corpus(tmp_path_factory: pytest.TempPathFactory, portrait: Image.Image) -> Workspace:
    """Four usable photos of three people with labels, captions and a landscape besides."""
    workspace = make_workspace(tmp_path_factory.mktemp("corpus"))
    folder = workspace.photos
    (folder / "b").mkdir()
    portrait.save(folder / "a.png")
    portrait.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "b" / "flipped.png")
    portrait.convert("L").save(folder / "b" / "grey.png")
    portrait.resize((200, 200)).save(folder / "c.png")
    Image.new("RGB", (100, 100), "green").save(folder / "lawn.png")
    (folder / "labels.csv").write_text(
        "key,emotion,valence,arousal,identity,AU12\na,happy,0.8,0.3,1,4\nb/flipped,happy,0.7,,1,3\n"
        "b/grey,sad,-0.5,-0.2,2,0\n",
        encoding="utf-8",
    )
    (folder / "captions.json").write_text('{"a": "Happy, a woman in orange"}', encoding="utf-8")
    preprocess(workspace)
    return workspace


@pytest.fixture
def copied(small_corpus: Workspace, tmp_path: Path) -> Workspace:
    """The small corpus, free to be changed."""
    shutil.copytree(small_corpus.root, tmp_path / "w")
    return make_workspace(tmp_path / "w")
