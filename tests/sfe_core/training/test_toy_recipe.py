"""What the engine promises, held by a recipe of forty-six lines: so it holds for every recipe."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sfe_core.config.loading import load_workspace
from sfe_core.config.workspace import Workspace
from sfe_core.errors import RunError, Stopped, UserError
from sfe_core.packaging.package import package_checkpoint
from sfe_core.reporting import Reporter
from sfe_core.runs.preflight import UPDATE, rehearse
from sfe_core.runs.start import build, plan_training, train
from sfe_core.training.engine.checkpoints import list_checkpoints, verify_checkpoint
from sfe_core.training.engine.runlog import read_metrics
from sfe_core.training.engine.session import Session
from sfe_core.training.engine.state import leave_weights_out, load_checkpoint, save_checkpoint
from sfe_core.training.engine.update import update, wanted_batches
from sfe_core.training.options import TrainOptions, TrainSummary
from sfe_core.training.parallel.sharding import is_sharded
from tests.listening import Listener
from tests.processes import in_processes, start_clean
from tests.sfe_cli.typed import sfe

RECIPE = Path(__file__).parents[2] / "toy_recipe.py"
FOLDERS = ("first", "second", "first_ema", "second_ema")
# Twenty on the day it was written; fewer by default, for time.
KILLS = int(os.environ.get("SFE_TEST_KILLS", "3"))


def toy_workspace(folder: Path) -> Workspace:
    """Six updates of eight points, a checkpoint after each second one; no corpus."""
    (folder / "sfe.yaml").write_text(
        f"preset: tiny\nrecipe: {RECIPE}\nrecipe_options: {{slope: 3}}\n"
        "train: {steps: 6, effective_batch: 8, batch_size: 8, checkpoint_every: 2, log_every: 1,\n"
        "  learning_rate: 0.01, schedule: linear, best_metric: loss, trackers: [],\n"
        '  mixed_precision: "no"}\n'
    )
    return load_workspace(folder)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return toy_workspace(tmp_path)


def with_train(workspace: Workspace, **fields: object) -> Workspace:
    train = workspace.config.train.model_copy(update=fields)
    return Workspace(workspace.root, workspace.config.model_copy(update={"train": train}))


def run(workspace: Workspace, reporter: Reporter | None = None, **options) -> TrainSummary:
    return train(workspace, TrainOptions(cpu_processes=1, **options), reporter or Reporter())


def weights_of(checkpoint: Path) -> dict[str, torch.Tensor]:
    return {
        f"{folder}.{name}": tensor
        for folder in FOLDERS
        for name, tensor in load_file(checkpoint / folder / "model.safetensors").items()
    }


def assert_same_run(one: TrainSummary, other: TrainSummary) -> None:
    def learnt(summary: TrainSummary) -> list[dict]:
        speed = ("images_per_s", "memory_bytes")
        lines = read_metrics(summary.run)
        return [{k: v for k, v in line.items() if k not in speed} for line in lines]

    expected, actual = weights_of(one.checkpoint), weights_of(other.checkpoint)
    assert expected.keys() == actual.keys()
    assert all(torch.equal(actual[name], tensor) for name, tensor in expected.items())
    assert learnt(one) == learnt(other)


def test_a_run_learns_saves_and_keeps_the_recipes_own_file(workspace):
    summary = run(with_train(workspace, learning_rate=0.1), run="first", steps=60)
    assert summary.checkpoint.name == "checkpoint-60"
    lines = read_metrics(summary.run)
    errors = [line["raw"]["error"] for line in lines]
    assert sum(errors[-10:]) < 0.5 * sum(errors[:10])
    assert set(lines[0]["lr"]) == {"first", "second"}
    assert "at_one" in lines[-1]["samples"]
    assert (summary.checkpoint / "slope.txt").read_text() == "3.0"


def test_the_plan_tells_what_the_recipe_tells(workspace):
    plan = plan_training(workspace, TrainOptions(cpu_processes=1))
    assert dict(plan.told) == {"learns": "a plane"}
    assert (plan.split_images, plan.parameters) == (1000, 4 * 8 + 8 + 8 + 1)


# Layouts


def open_session(workspace: Workspace, chosen: TrainOptions) -> Session:
    plan = plan_training(workspace, chosen)
    session = build(chosen.applied_to(workspace), plan, chosen, Reporter())
    leave_weights_out(session)
    return session


def go_on(session: Session, count: int, batches: Iterator | None = None) -> list[dict]:
    batches = batches or session.recipe.batches(wanted_batches(session))
    found = []
    for _ in range(count):
        found.append(update(session, batches))
        session.step += 1
    return found


def four_updates(rank: int, workspace: Workspace, chosen: TrainOptions) -> list[dict[str, float]]:
    return go_on(open_session(workspace, chosen), 4)


def test_any_layout_learns_the_same(workspace):
    def numbers(processes: int, batch: int) -> list[dict[str, float]]:
        chosen = TrainOptions(cpu_processes=processes, batch_size=batch)
        first, *others = in_processes(processes, four_updates, workspace, chosen)
        assert all(other == first for other in others)
        return first

    whole = numbers(1, 8)
    for layout in ((1, 2), (2, 4), (2, 2)):
        for ours, theirs in zip(whole, numbers(*layout), strict=True):
            assert theirs == pytest.approx(ours, rel=1e-4), layout


def save_and_go_on_twice(rank: int, workspace: Workspace, chosen: TrainOptions) -> tuple:
    session = open_session(workspace, chosen)
    assert is_sharded(session.model) and is_sharded(session.ema.model)
    first = go_on(session, 2)
    checkpoint = save_checkpoint(session)
    more = go_on(session, 2)
    load_checkpoint(session, checkpoint)
    return first + more, more, go_on(session, 2)


def test_sharded_weights_learn_the_same_and_any_strategy_goes_on(workspace):
    chosen = TrainOptions(cpu_processes=2, batch_size=4, strategy="fsdp", run="shards")
    (found, more, again), _ = in_processes(2, save_and_go_on_twice, workspace, chosen)
    assert again == more
    alone = in_processes(1, four_updates, workspace, TrainOptions(cpu_processes=1))[0]
    for ours, theirs in zip(alone, found, strict=True):
        assert theirs == pytest.approx(ours, rel=1e-4)
    assert run(workspace, resume="shards").step == 6


# Going on


def test_a_resumed_run_is_the_same_to_the_bit(workspace):
    whole = run(workspace, run="whole")
    shutil.copytree(whole.run, workspace.runs / "cut")
    for later in list_checkpoints(workspace.runs / "cut")[1:]:
        shutil.rmtree(later)
    assert_same_run(whole, run(workspace, resume="cut"))


def train_quietly(workspace: Workspace, options: TrainOptions) -> None:
    train(workspace, options, Reporter())


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_the_same(workspace):
    long = with_train(workspace, steps=400, checkpoint_every=20, keep_checkpoints=2)
    start_clean(bool).join()  # the first one waits for the imports
    chance = random.Random(5)
    begin = time.perf_counter()
    whole = run(long, run="whole")
    length = time.perf_counter() - begin
    kills, number = 0, 0
    while kills < KILLS:
        options = TrainOptions(cpu_processes=1, run=f"killed-{number}", resume="auto")
        process = start_clean(train_quietly, long, options)
        process.join(chance.uniform(0.0, 1.2 * length))
        process.kill()
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
        kills += process.exitcode != 0
        if process.exitcode == 0 or kills == KILLS:
            assert_same_run(whole, run(long, run=f"killed-{number}", resume="auto"))
            assert not list((long.runs / f"killed-{number}").glob(".sfe-partial*"))
            number += 1


def test_a_signal_finishes_the_update_saves_and_asks_to_be_started_again(workspace):
    class Signalled(Listener):
        shown = 0

        def show(self, figures):
            self.shown += 1
            if self.shown == 3:
                signal.raise_signal(signal.SIGUSR1)

    whole = run(workspace, run="whole")
    with pytest.raises(Stopped, match="stopped by SIGUSR1 after update 4 of 6") as stopped:
        run(workspace, Signalled(), run="stopped")
    assert stopped.value.exit_code == 85
    assert list_checkpoints(workspace.runs / "stopped")[-1].name == "checkpoint-4"
    assert_same_run(whole, run(workspace, run="stopped", resume="auto"))


def test_a_torn_newest_checkpoint_is_named_and_the_one_before_is_used(workspace):
    whole = run(workspace, run="whole")
    torn = list_checkpoints(whole.run)[-1]
    weights = torn / "first_ema" / "model.safetensors"
    os.truncate(weights, weights.stat().st_size // 2)
    with pytest.raises(RunError, match=r"checkpoint-6: first_ema/.*checksum.*--resume .*-4"):
        run(workspace, resume=str(torn))
    mended = run(workspace, resume="auto")
    assert mended.checkpoint == torn and verify_checkpoint(torn) is None


def test_a_rehearsal_measures_and_leaves_nothing(workspace):
    chosen = TrainOptions(cpu_processes=1)
    measured = rehearse(workspace, chosen, plan_training(workspace, chosen), Reporter())
    assert measured.pass_s > 0 and measured.peak_bytes[UPDATE] > 0
    assert not any(workspace.runs.iterdir())


# What is refused before anything starts


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipe": "stablefase"}, "recipe: 'stablefase' is not known; give one of stableface"),
        ({"recipe": "gone.py"}, r"recipe: .*gone.py: does not exist"),
        ({"recipe": "empty.py"}, r"recipe: empty.py: holds no SPEC"),
        ({"recipe": "broken.py"}, r"broken.py: cannot be run \(ZeroDivisionError"),
        ({"recipe_options": {"slop": 1}}, "recipe_options.slop: .*toy has: slope"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused_in_words(workspace, changes, message):
    (workspace.root / "empty.py").write_text("")
    (workspace.root / "broken.py").write_text("1 / 0")
    config = workspace.config.model_copy(update=changes)
    with pytest.raises(UserError, match=message):
        plan_training(Workspace(workspace.root, config), TrainOptions(cpu_processes=1))


def test_a_metric_the_recipe_does_not_measure_is_refused(workspace):
    asked = with_train(workspace, best_metric="top1")
    with pytest.raises(
        UserError, match="top1 is not measured by recipe toy; choose at_one or loss"
    ):
        plan_training(asked, TrainOptions(cpu_processes=1))


def test_a_run_without_a_base_is_not_packaged_but_told(workspace):
    run(workspace, run="first", steps=2)
    with pytest.raises(UserError, match="run first: recipe .* trains no base model"):
        package_checkpoint(workspace)


def test_the_command_trains_a_recipe_of_ones_own(workspace):
    told = sfe("train", "--workspace", str(workspace.root), "--dry-run")
    assert "learns" in told.output and "a plane" in told.output
    done = sfe("train", "--workspace", str(workspace.root), "--run", "mine")
    assert done.exit_code == 0
    assert list_checkpoints(workspace.runs / "mine")[-1].name == "checkpoint-6"
