"""A small workspace that can be evaluated: real face crops, random models, a random judge."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from sfe_core.config.model import Config
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.layout import INPUTS, MANIFEST, MAP_FOLDERS, artefact
from sfe_core.corpus.manifest import to_frame, write_manifest
from sfe_core.diffusion.guidance import GuidanceBank
from sfe_core.emotions import EMOTIONS
from sfe_core.evaluation.evaluate import evaluate
from sfe_core.evaluation.summary import EvaluationSummary
from sfe_core.faces.backends import load_detector
from sfe_core.faces.crop import CropTransform, crop
from sfe_core.faces.recognition.recognisers import TinyEmotionJudge
from sfe_core.files import derive_seed, sha256_file

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
            "evaluate": {"judge": str(judge_folder), "bootstrap": 200, "batch_size": 4},
        }
    )
    workspace = Workspace(tmp_path_factory.mktemp("evaluable"), config)
    write_corpus(workspace, face)
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


def write_corpus(
    workspace: Workspace,
    face,
    labelled: bool = True,
    counts: tuple[int, int] = (VALIDATION, TRAINING),
) -> None:
    """Crops of one face in many lights, cut a little differently each, with their landmarks.

    `counts`: of the validation and of the training split.
    """
    photo, points, around = face
    rows = []
    for place in range(sum(counts)):
        split = "val300" if place < counts[0] else "train"
        key = f"{split}/no {place}.é"
        random = np.random.default_rng(derive_seed("evaluable", place))
        shift = random.uniform(-0.03, 0.03, 2) * around.side
        transform = CropTransform(
            around.center_x + shift[0], around.center_y + shift[1], around.side
        )
        pixels = crop(photo, transform, CROP_PX) * random.uniform(0.7, 1.0, 3)
        emotion = place % len(EMOTIONS)
        rows.append(
            {
                "key": key,
                "photo": f"{key}.png",
                "status": "ok",
                "split": split,
                "landmarks": points.flatten().tolist(),
                "crop_x": transform.center_x,
                "crop_y": transform.center_y,
                "crop_side": transform.side,
                "caption": f"{EMOTIONS[emotion]}, <b>face</b>",
                "emotion": EMOTIONS[emotion] if labelled else None,
                "valence": float(np.cos(emotion)) if labelled else None,
                "arousal": float(np.sin(emotion)) if labelled else None,
                **_pictures(workspace.corpus, key, pixels.round().astype(np.uint8), random),
            }
        )
    write_manifest(workspace.corpus / MANIFEST, to_frame(rows))


def _pictures(corpus: Path, key: str, pixels: np.ndarray, random) -> dict[str, str]:
    hashes = {}
    for name, folder in {"inputs": INPUTS, **MAP_FOLDERS}.items():
        path = artefact(corpus, folder, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = (CROP_PX, CROP_PX) if name == "depth" else (CROP_PX, CROP_PX, 3)
        kind = np.uint16 if name == "depth" else np.uint8
        drawn = pixels if name == "inputs" else random.integers(0, 255, shape).astype(kind)
        Image.fromarray(drawn).save(path)
        hashes[f"{name}_sha256"] = sha256_file(path)
    return hashes


def write_package(workspace: Workspace, base: Path, name: str = "tuned", seed: int = 3) -> Path:
    """A packaged model: the base with its UNet shaken, and random guidance encoders."""
    from diffusers import UNet2DConditionModel

    folder = workspace.packaged / name
    shutil.copytree(base, folder)
    torch.manual_seed(seed)
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    with torch.no_grad():
        for parameter in unet.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    unet.save_pretrained(folder / "unet")
    guidance = workspace.config.guidance
    bank = GuidanceBank(guidance.maps, guidance.block_channels, unet.config.block_out_channels[0])
    for encoder in bank.encoders.values():
        torch.nn.init.normal_(encoder.conv_out.weight, std=0.5)
    bank.save_pretrained(folder / "guidance_encoder")
    record = {"packaged_at": f"2024-01-01T00:00:0{seed}"}
    (folder / "provenance.json").write_text(json.dumps(record), encoding="utf-8")
    return folder
