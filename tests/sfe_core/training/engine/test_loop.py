"""Whole runs on random models: what they leave behind, and that interrupting changes nothing."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
import yaml
from diffusers import UNet2DConditionModel
from PIL import Image
from safetensors.torch import load_file

from sfe_core.corpus.export import export_corpus
from sfe_core.corpus.reader import Corpus
from sfe_core.diffusion.guidance import GuidanceBank
from sfe_core.errors import RunError, UserError
from sfe_core.runs.start import train
from sfe_core.training.batches import data
from sfe_core.training.engine.checkpoints import list_checkpoints, newest_checkpoint, read_meta
from sfe_core.training.engine.runlog import read_metrics
from sfe_core.training.options import TrainOptions
from tests.listening import Listener
from tests.sfe_core.conftest import with_settings

NETWORKS = ("unet", "unet_ema", "guidance_encoder", "guidance_encoder_ema")
PLAIN = {"perceptual": 0, "valence": 0, "arousal": 0, "expression": 0}


class Interrupted(Exception):
    """Stands for a power cut."""


class PowerCut(Listener):
    """Cuts the power during training after so many updates."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self._after = after

    def advanced(self, title: str) -> None:
        if title == "Training" and self.done[title] == self._after:
            raise Interrupted


def run(workspace, reporter=None, **options):
    return train(workspace, TrainOptions(cpu_processes=1, **options), reporter or Listener())


def weights_of(checkpoint) -> dict[str, torch.Tensor]:
    loaded = {}
    for network in NETWORKS:
        state = load_file(checkpoint / network / "diffusion_pytorch_model.safetensors")
        loaded |= {f"{network}.{name}": tensor for name, tensor in state.items()}
    return loaded


def without_speed(lines: list[dict]) -> list[dict]:
    machine = ("images_per_s", "memory_bytes")
    return [{k: v for k, v in line.items() if k not in machine} for line in lines]


@pytest.mark.slow
def test_a_run_leaves_all_it_promises(workspace):
    summary = run(workspace, run="first")
    assert summary.run == workspace.runs / "first"
    assert (summary.step, summary.images_seen) == (4, 32)
    assert summary.images_per_s > 0
    assert [folder.name for folder in list_checkpoints(summary.run)] == [
        "checkpoint-2",
        "checkpoint-4",
    ]
    assert newest_checkpoint(workspace.runs) == summary.checkpoint
    unet = UNet2DConditionModel.from_pretrained(summary.checkpoint / "unet_ema")
    assert type(unet) is UNet2DConditionModel
    bank = GuidanceBank.from_pretrained(summary.checkpoint / "guidance_encoder")
    assert bank.encoders["mesh"].conv_out.weight.abs().max() > 0
    assert not (summary.checkpoint / "state" / "model.safetensors").exists()
    assert read_meta(summary.checkpoint).images_seen == 32
    assert not list(summary.run.glob(".sfe-partial*"))
    grid = np.asarray(Image.open(summary.samples))
    assert grid.shape == (3 * 32, 2 * 32, 3)  # its validation split has two of the emotions
    config = yaml.safe_load((summary.run / "config.yaml").read_text())
    assert config["train"]["steps"] == 4


@pytest.mark.slow
def test_metrics_hold_raw_and_weighted_terms(workspace):
    lines = read_metrics(run(workspace).run)
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    for line in lines:
        assert set(line["raw"]) == {"noise", "perceptual", "valence", "arousal", "expression"}
        assert line["total"] == pytest.approx(sum(line["weighted"].values()))
        assert line["weighted"]["arousal"] == pytest.approx(0.03 * line["raw"]["arousal"])
        assert line["images_seen"] == 8 * line["step"] and line["images_per_s"] > 0
    rates = [line["lr"]["unet"] for line in lines]
    assert rates[0] == 1e-4 and rates == sorted(rates, reverse=True)


@pytest.mark.slow
def test_training_lowers_the_loss_on_what_it_sees(workspace):
    # One batch of the same 18 images again and again, at a rate fit for random weights.
    changed = with_settings(
        workspace,
        loss=PLAIN,
        train={
            "steps": 40,
            "effective_batch": 18,
            "batch_size": 18,
            "learning_rate": 3e-3,
            "schedule": "constant",
            "checkpoint_every": 100,
        },
    )
    lines = read_metrics(run(changed).run)
    first, last = (np.mean([x["raw"]["noise"] for x in part]) for part in (lines[:5], lines[-5:]))
    assert last < 0.8 * first


@pytest.mark.slow
def test_interrupted_and_resumed_is_uninterrupted(workspace):
    # Lines every 2 updates and a checkpoint every 3: the running means cross the checkpoint.
    workspace = with_settings(
        workspace, train={"steps": 6, "log_every": 2, "checkpoint_every": 3, "batch_size": 8}
    )
    whole = run(workspace, run="whole")
    with pytest.raises(Interrupted):
        run(workspace, PowerCut(after=5), run="broken")
    assert [line["step"] for line in read_metrics(workspace.runs / "broken")] == [2, 4]
    listener = Listener()
    resumed = run(workspace, listener, resume=str(workspace.runs / "broken"))
    assert resumed.run.name == "broken" and resumed.step == 6
    assert len(listener.lines) == 1
    assert "broken goes on from update 3 of 6" in listener.lines[0]
    assert without_speed(read_metrics(resumed.run)) == without_speed(read_metrics(whole.run))
    expected, actual = weights_of(whole.checkpoint), weights_of(resumed.checkpoint)
    assert expected.keys() == actual.keys()
    assert all(torch.equal(actual[name], tensor) for name, tensor in expected.items())


@pytest.mark.slow
def test_resume_auto_takes_the_newest_and_ends_when_done(workspace):
    first = run(workspace, resume="auto")
    listener = Listener()
    again = run(workspace, listener, resume="auto")
    assert again.run == first.run and again.checkpoint == first.checkpoint
    assert any("nothing left to do" in line for line in listener.lines)
    edited = with_settings(workspace, train={"steps": 5})
    with pytest.raises(UserError, match="train.steps: 5, was 4; restore that.*--accept-changes"):
        run(edited, resume="auto")
    # Asked for along with resuming, more steps are no surprise.
    longer = run(workspace, listener, resume="auto", steps=5)
    assert longer.run == first.run and longer.step == 5
    assert any("train.steps: 5, was 4" in line for line in listener.lines)


@pytest.mark.slow
def test_accumulation_changes_nothing_but_rounding(workspace):
    workspace = with_settings(workspace, train={"steps": 2})
    small = run(workspace, batch_size=2, run="small")
    large = run(workspace, batch_size=8, run="large")
    for one, other in zip(read_metrics(small.run), read_metrics(large.run), strict=True):
        assert one["raw"] == pytest.approx(other["raw"], rel=1e-4)
        assert one["gradient_norm"] == pytest.approx(other["gradient_norm"], rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    "train_section",
    [
        {"mixed_precision": "bf16"},
        {"gradient_checkpointing": True},
        {"ema_decay": 0.0},
        {"frozen": ("up_blocks.1",)},
    ],
)
def test_variants_run(workspace, train_section):
    summary = run(with_settings(workspace, train={"steps": 1, **train_section}))
    assert np.isfinite(summary.losses["total"])
    assert (summary.checkpoint / "unet_ema").exists() == (train_section.get("ema_decay") != 0.0)
    if "frozen" in train_section:
        before = UNet2DConditionModel.from_pretrained(workspace.config.model.base, subfolder="unet")
        after = UNet2DConditionModel.from_pretrained(summary.checkpoint / "unet")
        assert torch.equal(
            after.up_blocks[1].resnets[0].conv1.weight, before.up_blocks[1].resnets[0].conv1.weight
        )
        assert not torch.equal(after.conv_in.weight, before.conv_in.weight)


@pytest.mark.slow
def test_checkpointing_memory_does_not_change_the_gradient(workspace):
    workspace = with_settings(workspace, train={"steps": 1})
    plain = run(workspace)
    saving = run(with_settings(workspace, train={"gradient_checkpointing": True}))
    assert saving.losses == pytest.approx(plain.losses, rel=1e-5)
    ours, theirs = (read_metrics(s.run)[0]["gradient_norm"] for s in (plain, saving))
    assert ours == pytest.approx(theirs, rel=1e-4)


def test_a_loss_of_zero_weight_is_not_in_the_log(workspace):
    changed = with_settings(workspace, train={"steps": 1}, loss=PLAIN)
    line = read_metrics(run(changed).run)[0]
    assert set(line["raw"]) == set(line["weighted"]) == {"noise"}


def test_a_loss_that_leaves_the_numbers_stops_the_run(workspace, monkeypatch):
    from sfe_core.losses import noise

    monkeypatch.setattr(noise, "noise_l1", lambda a, b: (a - b).mean(dim=(1, 2, 3)) * float("nan"))
    with pytest.raises(RunError, match="update 1: .*NaN.* no checkpoint was saved yet"):
        run(with_settings(workspace, train={"max_skipped_updates": 1}))
    assert list_checkpoints(next(workspace.runs.iterdir())) == []


@pytest.mark.slow
@pytest.mark.parametrize("streamed", [False, True])
def test_shards_train_exactly_as_the_folder_does(workspace, monkeypatch, streamed):
    if streamed:
        monkeypatch.setattr(data, "CACHE_BYTES", 0)
    folder = run(workspace, run="folder")
    export_corpus(Corpus.open(workspace), workspace.exported, samples_per_shard=5)
    shutil.rmtree(workspace.corpus)
    shards = with_settings(workspace, corpus={"shards": "exported"})
    shards = run(with_settings(shards, train={"loader_workers": 1}), run="shards")
    ours, theirs = (without_speed(read_metrics(summary.run)) for summary in (folder, shards))
    assert ours == theirs
    for name, tensor in weights_of(folder.checkpoint).items():
        assert torch.equal(tensor, weights_of(shards.checkpoint)[name]), name
    metas = [read_meta(summary.checkpoint) for summary in (folder, shards)]
    assert metas[0].corpus_sha256 == metas[1].corpus_sha256


@pytest.mark.slow
def test_resuming_other_encoders_or_another_base_is_refused(workspace, tmp_path):
    from tests.tiny import make_tiny_base

    run(with_settings(workspace, train={"steps": 1}))
    fewer = with_settings(workspace, guidance={"maps": ("depth",)})
    with pytest.raises(UserError, match="guidance.maps.*new run without --resume"):
        run(fewer, resume="auto")
    other = make_tiny_base(tmp_path / "other", seed=5)
    rebased = with_settings(workspace, train={"steps": 1}, model={"base": str(other)})
    with pytest.raises(UserError, match="model.base: .* is not what .* started from"):
        run(rebased, resume="auto")


def test_a_run_is_never_written_over(workspace):
    run(with_settings(workspace, train={"steps": 1}), run="mine")
    with pytest.raises(UserError, match="run mine: exists"):
        run(workspace, run="mine")
