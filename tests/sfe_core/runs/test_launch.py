"""Starting a run in several processes, and a real one on two CPU processes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from accelerate.utils.other import get_free_port

from sfe_core.config.workspace import Workspace
from sfe_core.errors import Interrupted, RunError, UserError
from sfe_core.processes import launching
from sfe_core.reporting import Reporter
from sfe_core.runs.launch import join_launcher, launch, refuse_launcher
from sfe_core.training.engine.run_folder import STARTS
from sfe_core.training.engine.runlog import read_metrics
from sfe_core.training.options import TrainOptions, TrainSummary
from tests.listening import Listener
from tests.processes import in_processes
from tests.sfe_core.conftest import with_settings
from tests.sfe_core.processes.test_surroundings import TORCHRUN
from tests.sfe_core.training.engine.test_loop import PLAIN


def test_more_gpus_than_there_are_is_an_error_not_a_fallback(workspace, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(UserError, match="--gpus 2.*--cpu-processes 2"):
        launch(workspace, TrainOptions(gpus=2), Reporter())
    assert not workspace.runs.exists()


def launch_a_machine(rank: int, workspace: Workspace, address: str) -> TrainSummary:
    options = TrainOptions(
        cpu_processes=1, nodes=2, node_rank=rank, main_address=address, run="machines"
    )
    return launch(workspace, options, Reporter())


@pytest.mark.slow
def test_two_machines_learn_what_one_does_and_both_end_well(workspace):
    # How updates are shared is the engine's to show, with every loss; here it is plain and short.
    quick = with_settings(
        workspace, loss=PLAIN, train={"steps": 2, "checkpoint_every": 2, "trackers": ()}
    )
    one = launch(quick, TrainOptions(cpu_processes=1, run="one"), Reporter())
    address = f"127.0.0.1:{get_free_port()}"
    first, second = in_processes(2, launch_a_machine, quick, address)
    assert (first.run.name, first.step, first.checkpoint) == ("machines", 2, second.checkpoint)
    assert first.samples is not None and first.samples.is_file()
    states = {path.name for path in (first.checkpoint / "state").iterdir()}
    assert {"random_states_0.pkl", "random_states_1.pkl"} <= states
    pairs = list(zip(read_metrics(one.run), read_metrics(first.run), strict=True))
    assert len(pairs) == 2
    for ours, theirs in pairs:
        assert theirs["lr"] == ours["lr"]
        assert theirs["images_seen"] == ours["images_seen"]
        assert theirs["raw"] == pytest.approx(ours["raw"], rel=1e-3)
        assert theirs["gradient_norm"] == pytest.approx(ours["gradient_norm"], rel=1e-3)


def train_of_a_world(rank: int, workspace: Workspace) -> TrainSummary:
    return launch(workspace, TrainOptions(run="joined"), Reporter())


def test_processes_that_a_launcher_started_make_one_run(workspace):
    quick = with_settings(workspace, loss=PLAIN, train={"steps": 2, "trackers": ()})
    one = launch(quick, TrainOptions(cpu_processes=1, run="one"), Reporter())
    # With what torchrun sets in each: RANK, LOCAL_RANK, WORLD_SIZE, MASTER_ADDR …
    first, second = in_processes(2, train_of_a_world, quick)
    assert first.run == second.run and first.checkpoint == second.checkpoint
    start = json.loads((first.run / STARTS).read_text())
    assert (start["processes"], start["batch"]) == (2, [4, 1])
    pairs = list(zip(read_metrics(one.run), read_metrics(first.run), strict=True))
    assert len(pairs) == 2
    for ours, theirs in pairs:
        assert theirs["total"] == pytest.approx(ours["total"], rel=1e-5)
        assert theirs["gradient_norm"] == pytest.approx(ours["gradient_norm"], rel=1e-4)


@pytest.mark.parametrize("gpus", [0, 2])
def test_a_launchers_world_is_joined(monkeypatch, gpus):
    monkeypatch.setattr("torch.cuda.is_available", lambda: bool(gpus))
    joined = join_launcher(TrainOptions(steps=3), TORCHRUN)
    device = {"gpus": 2} if gpus else {"cpu_processes": 2}
    place = {"nodes": 2, "node_rank": 1, "main_address": "first:1234"}
    assert joined == TrainOptions(steps=3, joined=True, **device, **place)
    # What the options say so too is no contradiction.
    assert join_launcher(TrainOptions(cpu_processes=2, nodes=2), TORCHRUN).joined
    alone = TrainOptions(gpus=2)
    assert join_launcher(alone, {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}) is alone
    # A machine of several, as `--nodes` says: its processes are still to be started.
    machine = TrainOptions(gpus=2, nodes=2, main_address="first")
    assert join_launcher(machine, {"SLURM_STEP_NUM_TASKS": "2", "PMI_SIZE": "2"}) is machine


@pytest.mark.parametrize(
    ("options", "environment", "words"),
    [
        ({}, {"SLURM_STEP_NUM_TASKS": "2"}, "srun started 2 of it.*start it once, with --cpu-proc"),
        ({"nodes": 3}, {"OMPI_COMM_WORLD_SIZE": "2"}, "mpirun started 2 of it"),
        ({}, {"RANK": "1", "WORLD_SIZE": "2"}, "a launcher that sets RANK.*--node-rank"),
        ({"cpu_processes": 3}, TORCHRUN, "--cpu-processes 3: torchrun has started 2 .* 2 machine"),
        ({"gpus": 1}, TORCHRUN, "--gpus 1: torchrun has started 2"),
        ({"nodes": 4}, TORCHRUN | {"WORLD_SIZE": "2"}, "--nodes 4: torchrun"),
        ({"strategy": "fsdp"}, TORCHRUN, "without torchrun: `sfe train --cpu-processes 2 --strat"),
    ],
)
def test_a_world_that_cannot_be_joined_is_refused(options, environment, words):
    with pytest.raises(UserError, match=words):
        join_launcher(TrainOptions(**options), environment)


def test_what_is_to_be_started_once_is_not_joined():
    refuse_launcher("sfe ablate", {})
    with pytest.raises(UserError, match="sfe ablate: torchrun started 4 of it; start it once"):
        refuse_launcher("sfe ablate", TORCHRUN)


@pytest.mark.parametrize("saved", [True, False])
def test_after_a_second_ctrl_c_a_command_is_named_that_works(workspace, monkeypatch, saved):
    quick = with_settings(
        workspace, loss=PLAIN, train={"steps": 2, "checkpoint_every": 1, "trackers": ()}
    )
    whole, broken = TrainOptions(cpu_processes=1, run="mine"), Interruptor(1 if saved else 0)
    with pytest.raises(Interrupted) as interrupted:
        launch(quick, whole, broken)
    said = str(interrupted.value)
    assert interrupted.value.exit_code == 130
    if saved:
        again = dataclasses.replace(whole, run=None, resume="mine")
        assert "its newest checkpoint is checkpoint-1; go on with `sfe train" in said
        assert f"--workspace {quick.root} --resume mine`" in said
    else:
        again = whole
        assert said.endswith(
            "interrupted before its first checkpoint; the same command starts it anew"
        )
    assert launch(quick, again, Reporter()).step == 2


class Interruptor(Listener):
    """Interrupts a run after so many updates, as a second Ctrl-C does."""

    def __init__(self, updates: int) -> None:
        super().__init__()
        self._updates = updates

    def show(self, figures):
        if self._updates == 0:
            raise KeyboardInterrupt
        self._updates -= 1


def test_options_and_configuration_reach_the_workers_whole(workspace, monkeypatch):
    seen = {}

    def follow(argv, *rest):
        seen.update(json.loads(Path(argv[-1]).read_text()))
        raise RunError("stop", "here")

    monkeypatch.setattr(launching, "follow", follow)
    options = TrainOptions(cpu_processes=2, steps=7, resume="auto")
    with pytest.raises(RunError):
        launch(workspace, options, Reporter())
    sent = TrainOptions(**seen["options"])
    # Nothing to resume: every worker must start the one new run that was named for them.
    assert sent.run and sent.resume is None
    assert dataclasses.replace(sent, run=None, resume="auto") == options
    assert type(workspace.config).model_validate(seen["config"]) == workspace.config
