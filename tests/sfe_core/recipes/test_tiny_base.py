"""The recipe of the shipped base: a second one over the same engine, on a handful of faces."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file

from sfe_core.config.workspace import Workspace
from sfe_core.errors import UserError
from sfe_core.recipes import tiny_base
from sfe_core.recipes.tiny_base import pipeline_of
from sfe_core.reporting import Reporter
from sfe_core.runs.start import plan_training, train
from sfe_core.synthesis.tiny.build import Build, base_workspace
from sfe_core.synthesis.tiny.networks import make_scheduler, make_vae
from sfe_core.synthesis.tiny.settings import SETTINGS, Phase
from sfe_core.training.engine.checkpoints import list_checkpoints
from sfe_core.training.options import TrainOptions

UNET, TEXT = "diffusion_pytorch_model.safetensors", "model.safetensors"
SMALL = replace(
    SETTINGS,
    image_px=64,
    vae_channels=(16, 16, 16, 16),
    unet_channels=(16, 16, 16),
    text_width=32,
    text_layers=1,
    base_steps=4,
    base_phases=(Phase(2, 0.0), Phase(2, 1.0)),
    base_batch=4,
    base_checkpoint_every=2,
    base_score_every=2,
)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Eight random latents in each of two sets, one of each emotion, and a random autoencoder."""
    rng = np.random.default_rng(0)
    for name in ("base", "unseen"):
        np.savez(
            tmp_path / f"examples-{name}.npz",
            latents=rng.normal(size=(8, 2, 8, 8, 8)).astype(np.float16),
            emotion=np.arange(8),
            named=np.array([f"Happy, face {number}" for number in range(8)]),
            unnamed=np.array([f"Face {number}" for number in range(8)]),
            features=rng.normal(size=(8, 1152)).astype(np.float32),
        )
    make_vae(SMALL).save_pretrained(tmp_path / "vae")
    return base_workspace(tmp_path, SMALL, torch.device("cpu"))


def test_it_trains_goes_on_exactly_and_becomes_a_pipeline(workspace, monkeypatch):
    monkeypatch.setattr(tiny_base, "SAMPLE_STEPS", 1)
    whole = train(workspace, TrainOptions(run="whole"), Reporter())
    shutil.copytree(whole.run, workspace.runs / "cut")
    for later in list_checkpoints(workspace.runs / "cut")[1:]:
        shutil.rmtree(later)
    cut = train(workspace, TrainOptions(resume="cut"), Reporter())
    assert whole.samples is not None and whole.best is not None
    for folder, name in (("unet_ema", UNET), ("text_encoder", TEXT)):
        one, other = (load_file(run.checkpoint / folder / name) for run in (whole, cut))
        assert all(torch.equal(one[key], other[key]) for key in one)
    pipeline = pipeline_of(whole.checkpoint, workspace.root.parent / "vae")
    drawn = pipeline("Face 1", num_inference_steps=1, height=64, width=64, output_type="pt").images
    assert drawn.shape == (1, 3, 64, 64) and drawn.isfinite().all()


@pytest.mark.slow
def test_the_build_trains_it_in_several_processes(workspace):
    work = workspace.root.parent
    build = Build(work, replace(SMALL, base_steps=2), workers=2)
    build.base()
    drawn = StableDiffusionPipeline.from_pretrained(work / "tiny-sd", safety_checker=None)
    assert drawn.unet.config.block_out_channels == list(SMALL.unet_channels)
    starts = (work / "base" / "runs" / "base" / "starts.jsonl").read_text(encoding="utf-8")
    assert '"processes": 2' in starts


def test_the_emotion_is_named_as_often_as_the_phase_says(workspace):
    assert [SMALL.emotion_caption_share(step) for step in range(5)] == [0.0, 0.0, 1.0, 1.0, 1.0]


def test_missing_faces_are_named_before_work(workspace):
    (workspace.root.parent / "examples-unseen.npz").unlink()
    with pytest.raises(UserError, match=r"examples-unseen.npz: does not exist.*tiny.build"):
        plan_training(workspace, TrainOptions())


def test_timesteps_are_drawn_as_often_as_min_snr_weighs_them():
    alphas = make_scheduler().alphas_cumprod
    chances = tiny_base.timestep_chances(alphas)
    rng = np.random.default_rng(0)
    drawn = np.concatenate([tiny_base.draw_timesteps(chances, 32, rng) for _ in range(2000)])
    snr = alphas / (1 - alphas)
    weights = (snr.clamp(max=tiny_base.SNR_GAMMA) / snr).double()
    for first in range(0, 1000, 100):
        span = slice(first, first + 100)
        expected = (weights[span].sum() / weights.sum()).item()
        assert np.mean((drawn >= first) & (drawn < first + 100)) == pytest.approx(
            expected, rel=0.03
        )


def test_timesteps_of_an_update_are_spread():
    chances = np.full(1000, 1e-3)
    times = np.sort(tiny_base.draw_timesteps(chances, 10, np.random.default_rng(1)))
    assert (times // 100).tolist() == list(range(10))
