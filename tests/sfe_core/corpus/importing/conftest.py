"""Data sets in the forms in which people have them, of a few small pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sfe_core.config.loading import load_workspace
from sfe_core.config.workspace import Workspace
from sfe_core.files import derive_seed

AFFECTNET_HEAD = (
    "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,"
    "expression,valence,arousal"
)


@pytest.fixture
def workspace(workspace_folder: Path) -> Workspace:
    return load_workspace(workspace_folder)


@pytest.fixture
def picture() -> Callable[[Path], Path]:
    """Writes a picture that no other path has."""

    def write(path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        random = np.random.default_rng(derive_seed("picture", path.name, path.parent.name))
        Image.fromarray(random.integers(0, 256, (12, 12, 3)).astype(np.uint8)).save(path)
        return path

    return write


@pytest.fixture
def affectnet(tmp_path: Path, picture: Callable[[Path], Path]) -> tuple[Path, Path]:
    """AffectNet's manual list with one line of every fault, and the folder of its images."""
    images = tmp_path / "Manually_Annotated_Images"
    for name in ("1/happy.jpg", "1/none.jpg", "2/odd.jpg", "2/sad.jpg"):
        picture(images / name)
    lines = [
        AFFECTNET_HEAD,
        "1/happy.jpg,10,11,100,120,1.5;2;3,1,0.75,-0.25",
        "1/none.jpg,0,0,9,9,1;2,8,-2,-2",
        "2/odd.jpg,0,0,9,9,1;2,12,0,0",
        "2/sad.jpg,0,0,9,9,1;2,2,-2,-2",
        "2/gone.jpg,0,0,9,9,1;2,3,0,0",
        "1/happy.jpg,10,11,100,120,1.5;2;3,1,0.75,-0.25",
        "2/sad.jpg,0,0,9,9,1;2,6,-2,-2",
        "2/sad.jpg,0,0",
        "../up.jpg,0,0,9,9,1;2,2,0,0",
        "2/odd.jpg,0,0,9,9,1;2,1,1.5,0",
    ]
    path = tmp_path / "training.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path, images
