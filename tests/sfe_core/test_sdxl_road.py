"""SDXL from photos to the report: preprocess, preflight, train, go on, package, draw, evaluate."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from PIL import Image
from safetensors.torch import load_file

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.preprocessing.preprocess import preprocess
from sfe_core.diffusion.guided_unet import GuidedUNet
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError
from sfe_core.evaluation.evaluate import evaluate
from sfe_core.packaging.package import package_checkpoint
from sfe_core.reporting import Reporter
from sfe_core.runs.preflight import rehearse
from sfe_core.runs.start import plan_training, train
from sfe_core.sampling.generate import generate
from sfe_core.sampling.sweep import Request
from sfe_core.sampling.triptych import make_triptychs
from sfe_core.training.options import TrainOptions
from tests.sfe_core.conftest import with_settings
from tests.sfe_core.corpus.conftest import make_workspace, portrait

__all__ = ["portrait"]

ALONE = TrainOptions(cpu_processes=1)
SETTINGS = (
    "split.copies=none",
    "split.identity=labels",
    "split.validation_fraction=0.25",
    "model.resolution=32",
    "guidance.block_channels=[8, 16, 16]",
    "train.steps=2",
    "train.batch_size=2",
    "train.effective_batch=4",
    "train.text_encoder=false",
    "train.checkpoint_every=1",
    "train.sample_every=0",
    "train.caption_dropout=0.3",
    "train.trackers=[]",
    "data.flip=0.5",
    "data.crop_least=0.8",
    "sampling.steps=2",
    "sampling.batch_size=4",
    "triptych.tile_px=64",
    "evaluate.bootstrap=40",
)


@pytest.fixture(scope="module")
def workspace(tiny_sdxl: Path, tmp_path_factory, portrait: Image.Image) -> Workspace:
    """Eight photos of as many people, preprocessed for a tiny random SDXL."""
    root = tmp_path_factory.mktemp("road")
    workspace = make_workspace(root, f"model.base={tiny_sdxl}", *SETTINGS)
    lines = ["key,emotion,valence,arousal,identity"]
    for number, emotion in enumerate(EMOTIONS):
        side = 160 + 10 * number
        portrait.resize((side, side)).save(workspace.photos / f"{number}.png")
        lines.append(f"{number},{emotion},0.1,0.2,person {number}")
    (workspace.photos / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    preprocess(workspace)
    return workspace


@pytest.fixture(scope="module")
def checkpoint(workspace: Workspace) -> Path:
    return train(workspace, TrainOptions(cpu_processes=1, run="first"), Reporter()).checkpoint


@pytest.fixture(scope="module")
def package(workspace: Workspace, checkpoint: Path) -> Path:
    return package_checkpoint(workspace, run=checkpoint.parent.name).folder


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    return {
        f"{file.parent.name}/{name}": tensor
        for file in sorted(checkpoint.glob("*/diffusion_pytorch_model.safetensors"))
        for name, tensor in load_file(file).items()
    }


def test_a_step_tells_the_unet_of_pooled_text_size_and_crop(workspace, tiny_sdxl, monkeypatch):
    told = []
    real = GuidedUNet.forward

    def watched(self, *arguments, **named):
        told.append(named["added"])
        return real(self, *arguments, **named)

    monkeypatch.setattr(GuidedUNet, "forward", watched)
    train(workspace, TrainOptions(cpu_processes=1, run="watched", steps=2), Reporter())
    ids = torch.cat([one["time_ids"] for one in told])
    pooled = torch.cat([one["text_embeds"] for one in told])
    assert len(ids) == len(pooled) == 8
    # The photos differ in size, so do the crops cut out of them; the views cut them differently.
    assert len(set(ids[:, 0].tolist())) > 2 and ids[:, 2:4].max() > 0
    assert (ids[:, 4:] == 32).all()
    dropped = (pooled == 0).all(dim=1)
    assert dropped.any() and not dropped.all()


def test_a_run_learns_and_goes_on_to_the_bit(workspace: Workspace, checkpoint: Path, tiny_sdxl):
    first = checkpoint.with_name("checkpoint-1")
    after = weights(checkpoint)
    assert any(not torch.equal(after[name], one) for name, one in weights(first).items())
    again = workspace.runs / "again"
    again.mkdir()
    shutil.copytree(first, again / first.name)
    shutil.copyfile(checkpoint.parent / "config.yaml", again / "config.yaml")
    options = TrainOptions(cpu_processes=1, resume=str(again / first.name))
    resumed = weights(train(workspace, options, Reporter()).checkpoint)
    assert resumed.keys() == after.keys()
    assert all(torch.equal(resumed[name], tensor) for name, tensor in after.items())


def test_another_second_text_encoder_is_not_gone_on_with(
    workspace, checkpoint, tiny_sdxl, tmp_path
):
    other = Path(shutil.copytree(tiny_sdxl, tmp_path / "other"))
    base = StableDiffusionXLPipeline.from_pretrained(other)
    with torch.no_grad():
        base.text_encoder_2.text_projection.weight.mul_(2)
    base.text_encoder_2.save_pretrained(other / "text_encoder_2")
    changed = with_settings(workspace, model={"base": str(other)})
    with pytest.raises(UserError, match=r"model\.base"):
        train(changed, TrainOptions(cpu_processes=1, resume=str(checkpoint)), Reporter())


def test_the_preflight_rehearses_all_of_it(workspace: Workspace):
    plan = plan_training(workspace, ALONE)
    assert plan.trained_parameters > 100_000
    measured = rehearse(workspace, ALONE, plan, Reporter())
    assert not measured.failed_in and measured.pass_s > 0


def test_training_the_text_encoders_is_refused_before_any_work(workspace: Workspace):
    asked = with_settings(workspace, train={"text_encoder": True})
    with pytest.raises(UserError, match=r"train\.text_encoder: Stable Diffusion XL has 2 text"):
        plan_training(asked, ALONE)


def test_a_decoder_of_other_latents_of_the_same_shape_is_refused(workspace: Workspace):
    asked = with_settings(workspace, loss={"pixel_decoder": "taesd"})
    with pytest.raises(UserError, match=r"loss\.pixel_decoder: taesd does not decode"):
        plan_training(asked, ALONE)


def test_the_package_is_drawn_with_in_every_way_and_measured(workspace: Workspace, package: Path):
    made = make_triptychs(workspace, package=package)
    assert made.total == made.composed == 2
    assert made.fine_tuned_drawn == made.base_drawn == 2
    led = generate(workspace, Request(prompt="a face", emotion="happy", head=True), package)
    asked = with_settings(workspace, sampling={"long_prompts": "chunks", "prompt_weights": "a1111"})
    long = generate(asked, Request(prompt="(smiling:1.3) face, " * 20), package)
    for picture in (*led.pictures, *long.pictures):
        assert Image.open(picture).size == (32, 32)
    summary = evaluate(workspace, package=package)
    told = json.loads((summary.folder / "summary.json").read_text(encoding="utf-8"))
    assert told["split"] == "val300" and (summary.folder / "report.html").is_file()
