"""Every setting that may change when a run is resumed acts, and every other one is refused."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from sfe_core.config.sections import LearningSection, Meaning, fields_that
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.layout import MANIFEST
from sfe_core.errors import UserError
from sfe_core.faces.recognition.tiny_identity import TinyIdentityNet
from sfe_core.reporting import Reporter
from sfe_core.runs.start import build, plan_training, train
from sfe_core.training.batches.data import StreamedSource
from sfe_core.training.engine.checkpoints import list_checkpoints, read_meta
from sfe_core.training.engine.runlog import read_metrics
from sfe_core.training.engine.session import Session
from sfe_core.training.engine.state import leave_weights_out, load_checkpoint
from sfe_core.training.engine.update import update, wanted_batches
from sfe_core.training.options import TrainOptions
from tests.listening import Listener
from tests.sfe_core.conftest import with_settings
from tests.tiny import make_tiny_base, make_tiny_recogniser, make_tiny_workspace

pytestmark = pytest.mark.slow

RESUME = TrainOptions(cpu_processes=1, resume="auto", accept_changes=True)
# The second recogniser, made beside the workspace's own.
OTHER = "<other recogniser>"
OTHER_EYE = "<other embedder>"


@dataclass(frozen=True)
class Change:
    """A field's new value, and what else must be so, before and after, for it to matter."""

    value: object
    beside: dict[str, dict] = field(default_factory=dict)


LEARNING = {
    "model.resolution": Change(40),
    "model.prediction": Change("v_prediction"),
    "model.zero_terminal_snr": Change(
        True, {"model": {"prediction": "v_prediction"}, "train": {"snr_gamma": None}}
    ),
    "train.steps": Change(9),
    "train.effective_batch": Change(2),
    "train.learning_rate": Change(3e-4),
    "train.guidance_learning_rate": Change(3e-4),
    "train.text_encoder_learning_rate": Change(3e-4),
    "train.schedule": Change("constant"),
    "train.warmup_steps": Change(5),
    "train.weight_decay": Change(5.0),
    "train.max_gradient_norm": Change(1e-3),
    "train.ema_decay": Change(0.01),
    "train.snr_gamma": Change(5.0),
    "train.noise_offset": Change(0.3),
    "train.input_perturbation": Change(0.3),
    "train.caption_dropout": Change(1.0),
    "train.guidance_dropout": Change(1.0),
    "train.balance": Change(0.0, {"data": {"ranges": {"valence": (0.0, 1.0)}}}),
    "train.balance_units": Change(1.0),
    "train.balance_subjects": Change(1.0),
    "train.mixed_precision": Change("bf16"),
    "train.seed": Change(7),
    "data.emotions": Change(("happy", "sad")),
    "data.ranges": Change({"valence": (-0.5, 0.5)}),
    "data.flip": Change(1.0),
    "data.crop_least": Change(0.6),
    "data.crop_count": Change(2, {"data": {"crop_least": 0.6}}),
    "loss.noise": Change(0.5),
    "loss.perceptual": Change(0.5),
    "loss.valence": Change(3.0),
    "loss.arousal": Change(3.0),
    "loss.expression": Change(3.0),
    "loss.features": Change(3.0),
    "loss.units": Change(3.0),
    "loss.units_network": Change("tiny-units-judge", {"loss": {"units": 1.0}}),
    "loss.identity": Change(3.0),
    "loss.identity_network": Change(OTHER_EYE, {"loss": {"identity": 1.0}}),
    "loss.noise_loss": Change("l2"),
    "loss.huber_delta": Change(0.9, {"loss": {"noise_loss": "huber"}}),
    "loss.expression_loss": Change("kl"),
    "loss.emotion_target": Change("label"),
    "loss.emotion_network": Change(OTHER),
    "loss.pixel_fraction": Change(1.0),
    "loss.pixel_min_timestep": Change(900),
    "loss.pixel_max_timestep": Change(100),
    "loss.pixel_min_snr": Change(10.0),
    "loss.pixel_ramp": Change(1000, {"loss": {"pixel_max_timestep": 500}}),
}
# Networks that no test has; that they are asked for shows that the name acts.
ASKED_FOR = {"loss.perceptual_network": "lpips-vgg", "loss.pixel_decoder": "taesd"}
# Terms of recipes that ask for more than photos show.
OF_OTHERS = ("loss.crafting_expression", "loss.alignment")
REFUSED = {
    "guidance.maps": ("depth",),
    "guidance.block_channels": (16, 32, 32),
    "train.frozen": ("up_blocks.1",),
    "data.person": "anna",
    "train.lora_rank": 2,
    "train.lora_modules": ("to_q",),
    "train.lora_dora": True,
    "train.text_encoder_lora_rank": 2,
    "train.text_encoder": False,
    "train.optimiser": "adamw-8bit",
}


@pytest.fixture(scope="module")
def begun(tmp_path_factory, tiny_base) -> Workspace:
    """A run of four updates with every kind of group, stopped after two."""
    workspace = make_tiny_workspace(
        tmp_path_factory.mktemp("resumed") / "work",
        tiny_base,
        images=16,
        # Without the map of landmarks, which no random picture lets be mirrored.
        guidance={"maps": ("depth", "mesh"), "block_channels": (16, 32, 64)},
        loss={"perceptual": 0.0, "pixel_fraction": 0.5, "valence": 0.5, "expression": 0.5},
        train={"text_encoder": True, "trackers": (), "effective_batch": 4, "steps": 2},
    )
    _tell_of_units_and_people(workspace)
    torch.set_num_threads(1)
    train(workspace, TrainOptions(cpu_processes=1, run="first"), Reporter())
    return with_settings(workspace, train={"steps": 4})


def _tell_of_units_and_people(workspace: Workspace) -> None:
    """AU12 on every other face, AU4 on one of them, one person on half of all."""
    path = workspace.corpus / MANIFEST
    rows = pd.read_parquet(path)
    places = np.arange(len(rows))
    rows["label_AU12"] = np.where(places % 2, 3.0, 0.0)
    rows["label_AU4"] = np.where(places == 3, 3.0, 0.0)
    rows["identity"] = np.where(places < len(rows) // 2, "one", rows["identity"])
    rows.to_parquet(path)


def changed(workspace: Workspace, dotted: str, value: object, beside: dict) -> Workspace:
    section, name = dotted.split(".")
    if value == OTHER:
        value = str(make_tiny_recogniser(workspace.root / "other", seed=9))
    if value == OTHER_EYE:
        torch.manual_seed(9)
        value = str(workspace.root / "other-eye")
        TinyIdentityNet(32, (8, 8, 8, 8), 8).save_pretrained(value)
    every = {key: dict(inner) for key, inner in beside.items()}
    every.setdefault(section, {})[name] = value
    return with_settings(workspace, **every)


@contextmanager
def resumed(workspace: Workspace) -> Iterator[Session]:
    plan = plan_training(workspace, RESUME)
    session = build(RESUME.applied_to(workspace), plan, RESUME, Reporter())
    try:
        leave_weights_out(session)
        load_checkpoint(session, plan.resume_from)
        yield session
    finally:
        session.close()


def one_more_update(workspace: Workspace) -> dict[str, torch.Tensor]:
    """Weights and averages after the update that comes after the checkpoint."""
    with resumed(workspace) as session:
        return updated(session)


def numbers_of(session: Session) -> dict[str, float]:
    return update(session, session.recipe.batches(wanted_batches(session)))


def updated(session: Session) -> dict[str, torch.Tensor]:
    assert numbers_of(session)
    models = {"live": session.model, "average": session.ema.model}
    return {
        f"{kind}.{name}": weight.detach().clone()
        for kind, model in models.items()
        for name, weight in model.named_parameters()
    }


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(other[name], weight) for name, weight in one.items())


@pytest.fixture(scope="module")
def unchanged(begun) -> dict[str, torch.Tensor]:
    return one_more_update(begun)


def test_every_setting_is_known_to_act_or_to_be_refused(begun):
    sections = {name: type(x) for name, x in begun.config if isinstance(x, LearningSection)}

    def every_one(meaning: Meaning | None = None) -> set[str]:
        return {
            f"{name}.{field}"
            for name, kind in sections.items()
            for field in (fields_that(kind, meaning) if meaning else kind.model_fields)
        }

    harmless = every_one(Meaning.OPERATIONAL) | {"model.base"}
    fixed, every = every_one(Meaning.STRUCTURAL), every_one()
    assert fixed == set(REFUSED)
    groups = [set(LEARNING), set(ASKED_FOR), set(OF_OTHERS), harmless, fixed]
    assert every == set().union(*groups) and len(every) == sum(map(len, groups))


def test_what_was_not_changed_goes_on_as_it_was(begun, unchanged):
    assert same(unchanged, one_more_update(begun))


@pytest.mark.parametrize("dotted", LEARNING)
def test_a_changed_setting_changes_what_is_learnt(begun, unchanged, dotted):
    change = LEARNING[dotted]
    before = unchanged
    if change.beside:
        before = one_more_update(with_settings(begun, **change.beside))
    assert not same(before, one_more_update(changed(begun, dotted, change.value, change.beside)))


@pytest.mark.parametrize("dotted", ASKED_FOR)
def test_a_changed_network_is_asked_for(begun, dotted):
    beside = {"loss": {"perceptual": 0.1}}
    with pytest.raises(UserError, match="assets"):
        plan_training(changed(begun, dotted, ASKED_FOR[dotted], beside), RESUME)


@pytest.mark.parametrize("dotted", OF_OTHERS)
def test_a_term_that_the_recipe_cannot_serve_is_refused(begun, dotted):
    with pytest.raises(UserError, match=f"{dotted}.*no use for it"):
        plan_training(changed(begun, dotted, 1.0, {}), RESUME)


@pytest.mark.parametrize("dotted", REFUSED)
def test_what_the_checkpoint_is_made_of_cannot_change(begun, dotted):
    with pytest.raises(UserError, match=rf"{dotted}|optimiser"):
        plan_training(changed(begun, dotted, REFUSED[dotted], {}), RESUME)


def test_what_bears_on_memory_and_speed_acts_and_changes_nothing_else(begun):
    other = with_settings(
        begun,
        train={
            "batch_size": 2,
            "channels_last": True,
            "ema_device": "cpu",
            "gradient_checkpointing": True,
            "loader_workers": 1,
            "max_skipped_updates": 3,
        },
        data={"cache": "none"},
        loss={"decode_chunk": 1},
    )
    with resumed(other) as session:
        assert (session.plan.batch_size, session.plan.accumulation) == (2, 2)
        assert session.model.unet.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
        assert session.model.unet.is_gradient_checkpointing
        assert isinstance(session.recipe.source, StreamedSource)
        assert session.skips.most_in_a_row == 3
        found = numbers_of(session)
    with resumed(begun) as session:
        assert found == pytest.approx(numbers_of(session), rel=1e-3)


def test_what_is_written_down_follows_the_new_settings(begun, tmp_path):
    work = Workspace(shutil.copytree(begun.root, tmp_path / "work"), begun.config)
    other = with_settings(
        work,
        train={
            "best_metric": "loss",
            "checkpoint_every": 1,
            "keep_checkpoints": 1,
            "log_every": 2,
            "sample_every": 3,
            "samples_per_emotion": 2,
            "trackers": ("tensorboard",),
        },
    )
    summary = train(other, RESUME, Reporter())
    assert [line["step"] for line in read_metrics(summary.run)] == [1, 2, 3, 4]
    assert {path.name for path in (summary.run / "samples").iterdir()} >= {"step-000003.png"}
    assert (summary.run / "tensorboard").is_dir()
    losses = {f: read_meta(f).metrics["loss"] for f in list_checkpoints(summary.run)}
    assert min(losses, key=losses.get) == summary.best and len(losses) <= 2


def test_float16_begins_to_scale_where_the_checkpoint_did_not(begun):
    with resumed(begun) as session:
        scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
        session.accelerator.scaler = scaler
        load_checkpoint(session, session.plan.resume_from)
        assert session.accelerator.scaler is scaler and scaler.get_scale() == 8.0


def test_another_base_is_refused_in_the_plan(begun, tmp_path):
    other = make_tiny_base(tmp_path / "other", seed=5)
    with pytest.raises(UserError, match="model.base: .* is not what first started from"):
        plan_training(with_settings(begun, model={"base": str(other)}), RESUME)


def test_a_network_of_the_loss_that_was_swapped_in_its_place_is_refused(begun, tmp_path):
    work = Workspace(shutil.copytree(begun.root, tmp_path / "work"), begun.config)
    network = Path(begun.config.loss.emotion_network)
    unasked = replace(RESUME, accept_changes=False, steps=4)

    def plan_with(folder: Path) -> None:
        plan_training(with_settings(work, loss={"emotion_network": str(folder)}), unasked)

    plan_with(shutil.copytree(network, tmp_path / "copy"))
    checkpoint = list_checkpoints(work.runs / "first")[-1]
    hashes = read_meta(checkpoint).must_match
    assert set(hashes) >= {"model.base", "loss.emotion_network"}
    other = make_tiny_recogniser(tmp_path / "other", seed=9)
    with pytest.raises(UserError, match="loss.emotion_network: .*/other, was"):
        plan_with(other)
    plan_training(with_settings(work, loss={"emotion_network": str(other)}), RESUME)


def test_updates_of_another_size_go_on_behind_the_images_seen(begun):
    larger = with_settings(begun, train={"effective_batch": 6})
    with resumed(larger) as session:
        plan = session.plan
        assert (plan.images_before(2), plan.images_before(3), plan.images_seen) == (8, 14, 20)
        views = [slot.view.place for batch in wanted_batches(session) for slot in batch]
        assert views == session.recipe.sampler.take(8, 12)


def test_a_changed_rate_is_what_the_run_goes_on_with_and_writes_down(begun, tmp_path):
    work = Workspace(shutil.copytree(begun.root, tmp_path / "work"), begun.config)
    faster = with_settings(work, train={"learning_rate": 3e-4, "schedule": "constant"})
    listener = Listener()
    summary = train(faster, RESUME, listener)
    assert any("learning rate unet 0.0003, guidance 0.0003" in line for line in listener.lines)
    lines = read_metrics(summary.run)
    assert [line["lr"]["unet"] for line in lines[2:]] == [3e-4, 3e-4]
    optimiser = torch.load(summary.checkpoint / "state" / "optimizer.bin", weights_only=True)
    assert {group["lr"] for group in optimiser["param_groups"]} == {3e-4}
    written = yaml.safe_load((summary.run / "config.yaml").read_text())
    assert written["train"]["learning_rate"] == 3e-4
    # Nothing is learnt at another rate once all is done, so none is written down.
    train(with_settings(faster, train={"learning_rate": 9e-4}), RESUME, listener)
    assert yaml.safe_load((summary.run / "config.yaml").read_text()) == written
