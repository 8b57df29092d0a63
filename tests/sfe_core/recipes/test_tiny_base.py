"""The recipe of the shipped base: a second one over the same engine, on a handful of faces."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from sfe_core.config.workspace import Workspace
from sfe_core.errors import UserError
from sfe_core.recipes import tiny_base
from sfe_core.recipes.tiny_base import pipeline_of
from sfe_core.reporting import Reporter
from sfe_core.runs.start import plan_training, train
from sfe_core.synthesis.tiny.build import base_workspace
from sfe_core.synthesis.tiny.networks import make_vae
from sfe_core.synthesis.tiny.settings import SETTINGS, Phase
from sfe_core.training.engine.checkpoints import list_checkpoints
from sfe_core.training.options import TrainOptions

UNET, TEXT = "diffusion_pytorch_model.safetensors", "model.safetensors"
SMALL = replace(
    SETTINGS,
    vae_channels=(16, 16, 16),
    unet_channels=(16, 16, 16),
    text_width=32,
    text_layers=1,
    base_phases=(Phase(2, 0.0), Phase(2, 1.0)),
    base_batch=4,
)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Eight random pictures in each of two sets, one of each emotion, and a random autoencoder."""
    rng = np.random.default_rng(0)
    for name in ("loss", "judge"):
        np.savez(
            tmp_path / f"faces-{name}.npz",
            images=rng.integers(256, size=(8, 64, 64, 3), dtype=np.uint8),
            emotion=np.arange(8),
            valence=np.zeros(8),
            arousal=np.zeros(8),
            named=np.array([f"Happy, face {number}" for number in range(8)]),
            unnamed=np.array([f"Face {number}" for number in range(8)]),
        )
    make_vae(SMALL).save_pretrained(tmp_path / "vae")
    return base_workspace(tmp_path, SMALL)


def test_it_trains_goes_on_exactly_and_becomes_a_pipeline(workspace, monkeypatch):
    monkeypatch.setattr(tiny_base, "SAMPLE_STEPS", 1)
    train_section = workspace.config.train.model_copy(update={"checkpoint_every": 2})
    config = workspace.config.model_copy(update={"train": train_section})
    workspace = Workspace(workspace.root, config)
    whole = train(workspace, TrainOptions(run="whole"), Reporter())
    shutil.copytree(whole.run, workspace.runs / "cut")
    for later in list_checkpoints(workspace.runs / "cut")[1:]:
        shutil.rmtree(later)
    cut = train(workspace, TrainOptions(resume="cut"), Reporter())
    assert whole.samples is not None
    for folder, name in (("unet_ema", UNET), ("text_encoder", TEXT)):
        one, other = (load_file(run.checkpoint / folder / name) for run in (whole, cut))
        assert all(torch.equal(one[key], other[key]) for key in one)
    pipeline = pipeline_of(whole.checkpoint, workspace.root.parent / "vae")
    drawn = pipeline("Face 1", num_inference_steps=1, height=64, width=64, output_type="pt").images
    assert drawn.shape == (1, 3, 64, 64) and drawn.isfinite().all()


def test_the_emotion_is_named_as_often_as_the_phase_says(workspace):
    assert [SMALL.emotion_caption_share(step) for step in range(5)] == [0.0, 0.0, 1.0, 1.0, 1.0]


def test_missing_faces_are_named_before_work(workspace):
    (workspace.root.parent / "faces-judge.npz").unlink()
    with pytest.raises(UserError, match=r"faces-judge.npz: does not exist.*tiny.build"):
        plan_training(workspace, TrainOptions())
