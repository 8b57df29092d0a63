"""Plans: layouts, devices, and every refusal before work begins."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel

from sfe_core.corpus.layout import MANIFEST, artefact
from sfe_core.corpus.manifest import read_manifest, write_manifest
from sfe_core.corpus.reader import Corpus
from sfe_core.errors import UserError
from sfe_core.runs.start import plan_training
from sfe_core.training.engine.plan import (
    check_strategy,
    lay_out,
    resolve_precision,
    state_bytes,
)
from sfe_core.training.options import TrainOptions
from tests.sfe_core.conftest import with_settings

ON_CPU = TrainOptions(cpu_processes=1)


@pytest.mark.parametrize(
    ("batch", "effective", "processes", "expected"),
    [
        (4, 1024, 2, (4, 128)),
        (16, 16, 1, (16, 1)),
        (16, 16, 2, (8, 1)),
        (4, 20, 2, (2, 5)),
        (4, 6, 1, (3, 2)),
        (8, 5, 1, (5, 1)),
    ],
)
def test_the_effective_batch_is_always_exact(batch, effective, processes, expected):
    size, accumulation = lay_out(batch, effective, processes)
    assert (size, accumulation) == expected
    assert size * accumulation * processes == effective


def test_an_uneven_share_is_refused():
    with pytest.raises(UserError, match="train.effective_batch: 16 .* 3 processes.*e.g. 15"):
        lay_out(4, 16, 3)


def test_a_plan_counts_what_a_run_would_do(workspace):
    plan = plan_training(workspace, ON_CPU)
    assert (plan.batch_size, plan.accumulation, plan.effective_batch) == (4, 2, 8)
    assert (plan.steps, plan.images_seen, plan.split_images) == (4, 32, 18)
    assert plan.epochs == pytest.approx(32 / 18)
    assert set(plan.told["loss terms"]) == {
        "noise",
        "perceptual",
        "valence",
        "arousal",
        "expression",
    }
    assert plan.told["guidance maps"] == ("landmarks", "depth", "mesh")
    assert plan.state_bytes > 4 * 4 * plan.parameters * 0.8
    assert not workspace.runs.exists()


def test_options_win_over_the_file(workspace):
    options = TrainOptions(cpu_processes=2, batch_size=2, effective_batch=12, steps=9)
    plan = plan_training(workspace, options)
    assert (plan.steps, plan.batch_size, plan.accumulation) == (9, 2, 3)


def test_losses_that_are_off_are_listed(workspace):
    plan = plan_training(with_settings(workspace, loss={"valence": 0, "perceptual": 0}), ON_CPU)
    assert plan.told["switched off"] == ("perceptual", "valence")


@pytest.mark.parametrize(("has_bf16", "precision"), [(True, "bf16"), (False, "no")])
def test_automatic_precision_follows_the_device(monkeypatch, has_bf16, precision):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": has_bf16})
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: has_bf16)
    assert [resolve_precision("auto", device) for device in ("cpu", "cuda")] == [precision] * 2
    assert resolve_precision("no", "cpu") == "no"


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"guidance": {"block_channels": (16, 32, 96, 256)}}, "block_channels.*give 3 widths"),
        ({"guidance": {"block_channels": (10, 32, 64)}}, "multiple of 8"),
        ({"train": {"frozen": ("up_blocks.3",)}}, "train.frozen.*up_blocks.3"),
        ({"train": {"mixed_precision": "fp16"}}, "fp16 needs a GPU"),
        ({"model": {"base": "no-such-model"}}, "no-such-model"),
        ({"loss": {"emotion_network": "nothing-here"}}, "nothing-here"),
        ({"loss": {"perceptual_network": "lpips-vgg"}}, "vgg16.*assets fetch"),
        (
            {
                "loss": dict.fromkeys(
                    ("noise", "perceptual", "valence", "arousal", "expression"), 0.0
                )
            },
            "every weight is 0",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused_before_loading(workspace, sections, words):
    changed = with_settings(workspace, **sections)
    with pytest.raises(UserError, match=words):
        plan_training(changed, ON_CPU)


def test_a_resolution_the_base_cannot_halve(workspace):
    changed = with_settings(workspace, model={"resolution": 40})
    plan_training(changed, ON_CPU)  # 8 × 5: fits
    base = Path(shutil.copytree(workspace.config.model.base, workspace.root / "deeper"))
    config = dict(UNet2DConditionModel.load_config(base / "unet"))
    config["block_out_channels"] = [16, 32, 32]
    config["down_block_types"] = ["DownBlock2D"] * 3
    config["up_block_types"] = ["UpBlock2D"] * 3
    UNet2DConditionModel.from_config(config).save_pretrained(base / "unet")
    with pytest.raises(UserError, match="model.resolution: 40.*multiple of 16"):
        plan_training(with_settings(workspace, model={"resolution": 40, "base": str(base)}), ON_CPU)


def test_a_prediction_type_without_a_target_is_refused(workspace):
    base = Path(shutil.copytree(workspace.config.model.base, workspace.root / "other"))
    path = base / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"prediction_type": "sample"}))
    with pytest.raises(UserError, match="'sample'.*epsilon"):
        plan_training(with_settings(workspace, model={"base": str(base)}), ON_CPU)


def test_a_corpus_that_cannot_be_learnt_from_is_refused_with_its_rows(workspace):
    key = Corpus.open(workspace).split("train")["key"][0]
    picture = artefact(workspace.corpus, "depth", key)
    content = picture.read_bytes()
    picture.unlink()
    with pytest.raises(UserError, match=rf"1 of 18 faces.*{key}: depth is missing"):
        plan_training(workspace, ON_CPU)
    plan_training(with_settings(workspace, guidance={"maps": ("landmarks", "mesh")}), ON_CPU)
    picture.write_bytes(content)
    plan_training(workspace, ON_CPU)
    strict = with_settings(workspace, quality={"mesh_coverage": (0.0, 0.5)})
    with pytest.raises(UserError, match=r"18 of 18 faces.*mesh_coverage 1, allowed 0 to 0\.5"):
        plan_training(strict, ON_CPU)


def test_resuming_nothing(workspace):
    plan = plan_training(workspace, TrainOptions(cpu_processes=1, resume="auto"))
    assert plan.resume_from is None and "no checkpoint yet" in plan.notes[-1]
    with pytest.raises(UserError, match="--resume gone"):
        plan_training(workspace, TrainOptions(cpu_processes=1, resume="gone"))


def test_planning_loads_no_weights(workspace, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(torch, "load", refuse)
    monkeypatch.setattr("safetensors.torch.load_file", refuse)
    monkeypatch.setattr("diffusers.UNet2DConditionModel.from_pretrained", refuse)
    plan_training(workspace, ON_CPU)


def test_faces_left_out_are_counted_and_told(workspace):
    chosen = with_settings(
        workspace, data={"emotions": ("happy", "sad"), "ranges": {"valence": (-2, 2)}}
    )
    plan = plan_training(chosen, ON_CPU)
    assert plan.split_images < 18
    assert f"data.emotions leaves out {18 - plan.split_images} faces" in plan.notes
    assert "data.ranges.valence leaves out 0 faces" in plan.notes
    with pytest.raises(UserError, match="data.flip: the map of landmarks"):
        plan_training(with_settings(workspace, data={"flip": 0.5}), ON_CPU)


def test_captions_longer_than_the_text_encoder_reads_are_counted(workspace):
    manifest = workspace.corpus / MANIFEST
    rows = read_manifest(manifest)
    train = rows.index[rows["split"] == "train"]
    rows.loc[train[:2], "caption"] = "happy, a man with a long white beard, old"
    rows.loc[train[2], "caption"] = "sad " * 50
    write_manifest(manifest, rows)
    (told,) = [note for note in plan_training(workspace, ON_CPU).notes if "caption" in note]
    assert told.startswith(f"3 of {len(train)} captions are longer than the text encoder's 32 ")
    assert told.endswith("(longest 152); words lost, e.g. old")


def test_memory_follows_what_trains(workspace):
    def planned(**train) -> int:
        return plan_training(with_settings(workspace, train=train), ON_CPU).state_bytes

    whole = planned()
    assert planned(ema_device="cpu") == planned(ema_decay=0.0) < whole
    assert planned(lora_rank=2) < 0.75 * whole  # the encoders still train whole
    assert state_bytes("ddp", 1, 100, 100) == 4 * 400
    assert state_bytes("ddp", 1, 100, 100, "adamw-8bit") == 4 * 250


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategy": "tp"}, "--strategy: 'tp'.*ddp, fsdp, zero2"),
        ({"strategy": "zero2"}, "zero2: needs GPUs"),
        ({"nodes": 2}, "no --main-address"),
        ({"nodes": 2, "node_rank": 2, "main_address": "a"}, "node-rank"),
        ({"nodes": 2, "main_address": "a:b"}, "'b' is not a port"),
    ],
)
def test_machines_and_strategies_that_cannot_be_are_refused(workspace, options, message):
    with pytest.raises(UserError, match=message):
        plan_training(workspace, TrainOptions(cpu_processes=2, **options))


def test_several_machines_share_the_images_of_an_update(workspace):
    options = TrainOptions(gpus=2, nodes=2, main_address="first:1234")
    plan = plan_training(workspace, options, cuda_devices=2)
    assert (plan.processes, plan.topology.nodes) == (4, 2)
    assert plan.processes * plan.batch_size * plan.accumulation == plan.effective_batch
    with pytest.raises(UserError, match="--gpus 2: this machine has 1"):
        plan_training(workspace, options, cuda_devices=1)
    with pytest.raises(UserError, match="--nodes.*add --gpus"):
        plan_training(workspace, TrainOptions(nodes=2, main_address="a"), cuda_devices=2)


def test_shards_take_their_part_of_the_memory():
    whole = state_bytes("ddp", 4, weights=800, trained=400)
    assert whole == 4 * (800 + 3 * 400)
    assert state_bytes("fsdp", 4, weights=800, trained=400) == whole // 4
    assert state_bytes("zero2", 4, weights=800, trained=400) == 4 * (800 + 3 * 100)
    assert state_bytes("zero2-offload", 4, weights=800, trained=400) == 4 * 800


def test_shards_know_neither_float16_nor_lora():
    check_strategy("ddp", "fp16", 8)
    check_strategy("fsdp", "bf16", 0)
    with pytest.raises(UserError, match="fp16 with --strategy zero2.*bf16"):
        check_strategy("zero2", "fp16", 0)
    with pytest.raises(UserError, match="not LoRA"):
        check_strategy("fsdp", "no", 8)
