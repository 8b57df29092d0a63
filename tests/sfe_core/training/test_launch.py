"""Starting a run in several processes, and a real one on two CPU processes."""

from __future__ import annotations

import dataclasses
import json

import pytest
from accelerate.utils.other import get_free_port

from sfe_core.config.workspace import Workspace
from sfe_core.errors import RunError, UserError
from sfe_core.reporting import Reporter
from sfe_core.training import launch as launching
from sfe_core.training.launch import launch
from sfe_core.training.options import TrainOptions, TrainSummary
from sfe_core.training.runlog import read_metrics
from tests.listening import Listener
from tests.processes import in_processes
from tests.sfe_core.training.conftest import with_settings


def test_more_gpus_than_there_are_is_an_error_not_a_fallback(workspace, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(UserError, match="--gpus 2.*--cpu-processes 2"):
        launch(workspace, TrainOptions(gpus=2), Reporter())
    assert not workspace.runs.exists()


@pytest.mark.slow
def test_two_cpu_processes_learn_what_one_does(workspace):
    workspace = with_settings(workspace, train={"steps": 3, "checkpoint_every": 2})
    one = launch(workspace, TrainOptions(cpu_processes=1, run="one"), Reporter())
    listener = Listener()
    two = launch(workspace, TrainOptions(cpu_processes=2, run="two"), listener)
    assert two.run.name == "two" and two.step == 3
    assert listener.done["Training"] == 3
    assert two.samples is not None and two.samples.is_file()
    states = {path.name for path in (two.checkpoint / "state").iterdir()}
    assert {"random_states_0.pkl", "random_states_1.pkl"} <= states
    pairs = list(zip(read_metrics(one.run), read_metrics(two.run), strict=True))
    assert len(pairs) == 3
    for ours, theirs in pairs:
        assert ours["lr"] == theirs["lr"]
        assert ours["images_seen"] == theirs["images_seen"]
        assert theirs["raw"] == pytest.approx(ours["raw"], rel=1e-3)
        assert theirs["weighted"] == pytest.approx(ours["weighted"], rel=1e-3)
        assert theirs["gradient_norm"] == pytest.approx(ours["gradient_norm"], rel=1e-3)


def launch_a_machine(rank: int, workspace: Workspace, address: str) -> TrainSummary:
    options = TrainOptions(
        cpu_processes=1, nodes=2, node_rank=rank, main_address=address, run="machines"
    )
    return launch(workspace, options, Reporter())


@pytest.mark.slow
def test_two_machines_learn_what_one_does_and_both_end_well(workspace):
    workspace = with_settings(workspace, train={"steps": 2})
    one = launch(workspace, TrainOptions(cpu_processes=1, run="one"), Reporter())
    address = f"127.0.0.1:{get_free_port()}"
    first, second = in_processes(2, launch_a_machine, workspace, address)
    assert (first.run.name, first.step, first.checkpoint) == ("machines", 2, second.checkpoint)
    for ours, theirs in zip(read_metrics(one.run), read_metrics(first.run), strict=True):
        assert theirs["raw"] == pytest.approx(ours["raw"], rel=1e-3)
        assert theirs["gradient_norm"] == pytest.approx(ours["gradient_norm"], rel=1e-3)


def test_options_and_configuration_reach_the_workers_whole(workspace, monkeypatch):
    seen = {}

    def follow(argv, environment, reporter, who):
        seen.update(json.loads(argv[-1]))
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
