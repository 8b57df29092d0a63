"""A small workspace that can be evaluated: real face crops, random models, a random judge."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data

from sfe_core.config.model import Config
from sfe_core.config.workspace import Workspace
from sfe_core.emotions import EMOTIONS
from sfe_core.evaluation.evaluate import evaluate
from sfe_core.evaluation.summary import EvaluationSummary
from sfe_core.faces.backends import load_detector
from sfe_core.faces.crop import CropTransform, crop
from sfe_core.faces.recognition.tiny_recognisers import TinyEmotionJudge
from sfe_core.files import derive_seed
from tests.corpora import write_corpus
from tests.tiny_workspace import changed_networks

CROP_PX = 128
VALIDATION, TRAINING = 9, 12


@pytest.fixture(scope="session")
def face() -> tuple[np.ndarray, np.ndarray, CropTransform]:
    """A photo, the 68 landmarks on its face and the square crop round them."""
    photo = data.astronaut()
    points = load_detector("dlib").detect(photo)[0].landmarks.astype(float)
    low, high = points.min(0), points.max(0)
    return photo, points, CropTransform(*((low + high) / 2), float((high - low).max()) * 1.6)


@pytest.fixture(scope="session")
def judge_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judge") / "random-judge"
    torch.manual_seed(7)
    TinyEmotionJudge(32, (16, 24), (1, 1)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def evaluation_run(
    tmp_path_factory, tiny_base, judge_folder, face
) -> tuple[Workspace, EvaluationSummary]:
    """A workspace that was evaluated, and what came of it; once, as it takes seconds."""
    config = Config.model_validate(
        {
            "model": {"base": str(tiny_base), "resolution": 64},
            "guidance": {"block_channels": [8, 16, 16]},
            "sampling": {"steps": 2, "guidance_scale": 3.0, "batch_size": 4},
            # Nothing that depends on what is installed here.
            "evaluate": {
                "judge": str(judge_folder),
                "witnesses": [],
                "features": ["judge"],
                "identity": "none",
                "bootstrap": 200,
                "batch_size": 4,
            },
        }
    )
    workspace = Workspace(tmp_path_factory.mktemp("evaluable"), config)
    write_faces(workspace, face)
    write_package(workspace, tiny_base)
    return workspace, evaluate(workspace)


@pytest.fixture(scope="session")
def evaluated_once(evaluation_run) -> Workspace:
    """The workspace; tests only read it."""
    return evaluation_run[0]


@pytest.fixture(scope="session")
def summary(evaluation_run) -> EvaluationSummary:
    """Its numbers."""
    return evaluation_run[1]


@pytest.fixture
def without_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots have tests of their own, and take longer than the numbers and the page."""
    monkeypatch.setattr("sfe_core.evaluation.reporting.outputs.draw_plots", lambda *_: [])


@pytest.fixture
def evaluable(evaluated_once: Workspace, tmp_path: Path) -> Workspace:
    """A copy of the evaluated workspace that a test may change."""
    shutil.copytree(evaluated_once.root, tmp_path / "work")
    return Workspace(tmp_path / "work", evaluated_once.config)


def write_faces(
    workspace: Workspace,
    face,
    labelled: bool = True,
    counts: tuple[int, int] = (VALIDATION, TRAINING),
) -> None:
    """Crops of one face in many lights, cut a little differently each, with their landmarks.

    `counts`: of the validation and of the training split.
    """
    photo, points, around = face
    rows, crops = [], {}
    for place in range(sum(counts)):
        split = "val300" if place < counts[0] else "train"
        key = f"{split}/no {place}.é"
        random = np.random.default_rng(derive_seed("evaluable", place))
        shift = random.uniform(-0.03, 0.03, 2) * around.side
        transform = CropTransform(
            around.center_x + shift[0], around.center_y + shift[1], around.side
        )
        pixels = crop(photo, transform, CROP_PX) * random.uniform(0.7, 1.0, 3)
        crops[key] = pixels.round().astype(np.uint8)
        emotion = place % len(EMOTIONS)
        rows.append(
            {
                "key": key,
                "split": split,
                "landmarks": points.flatten().tolist(),
                "crop_x": transform.center_x,
                "crop_y": transform.center_y,
                "crop_side": transform.side,
                "caption": f"{EMOTIONS[emotion]}, <b>face</b>",
                "emotion": EMOTIONS[emotion] if labelled else None,
                "valence": float(np.cos(emotion)) if labelled else None,
                "arousal": float(np.sin(emotion)) if labelled else None,
            }
        )
    write_corpus(workspace, rows, CROP_PX, crops)


def write_package(workspace: Workspace, base: Path, name: str = "tuned", seed: int = 3) -> Path:
    """A packaged model: the base with its UNet shaken, and random guidance encoders."""
    folder = workspace.packaged / name
    shutil.copytree(base, folder)
    unet, bank = changed_networks(workspace, seed)
    unet.save_pretrained(folder / "unet")
    bank.save_pretrained(folder / "guidance_encoder")
    record = {"packaged_at": f"2024-01-01T00:00:0{seed}"}
    (folder / "provenance.json").write_text(json.dumps(record), encoding="utf-8")
    return folder
