"""Starting workers: the command lines, and a real run on two CPU processes."""

from __future__ import annotations

import dataclasses
import json
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file

import sfe_core
from sfe_core.errors import RunError, UserError
from sfe_core.reporting import Reporter
from sfe_core.training import launch as launching
from sfe_core.training.launch import config_folder, launch, launcher_argv, launcher_env
from sfe_core.training.options import TrainOptions, TrainPlan
from sfe_core.training.runlog import read_metrics
from tests.sfe_core.training.conftest import with_settings


def plan(device: str, processes: int) -> TrainPlan:
    return TrainPlan(
        device=device,
        processes=processes,
        batch_size=4,
        accumulation=1,
        effective_batch=4 * processes,
        steps=1,
        start_step=0,
        split_images=8,
        images_seen=8,
        base=Path("base"),
        maps=(),
        losses={},
        losses_off=(),
        parameters=1,
        state_bytes=1,
    )


class Listener(Reporter):
    """Keeps the titles of tasks, how far they came, and what was said."""

    def __init__(self) -> None:
        self.done: dict[str, int] = {}
        self.lines: list[str] = []

    @contextmanager
    def task(self, title, total=None):
        self.done[title] = 0

        class Bar:
            def advance(bar, count=1, note=""):
                self.done[title] += count

        yield Bar()

    def say(self, message):
        self.lines.append(message)


def test_several_gpus_go_through_accelerate():
    argv = launcher_argv(plan("cuda", 3), ["work", "{}"])
    assert argv == [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        f"--config_file={config_folder() / 'multi-gpu.yaml'}",
        "--num_processes=3",
        "--module",
        "sfe_core.training.worker",
        "work",
        "{}",
    ]


def test_several_cpu_processes_go_through_torchrun():
    argv = launcher_argv(plan("cpu", 2), ["work", "{}"])
    assert argv == [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node=2",
        "-m",
        "sfe_core.training.worker",
        "work",
        "{}",
    ]


def test_accelerate_reads_its_command_line_as_meant():
    from accelerate.commands.launch import launch_command_parser

    argv = launcher_argv(plan("cuda", 2), ["a folder", '{"options": {}}'])
    parsed = launch_command_parser().parse_args(argv[3:])
    assert (parsed.num_processes, parsed.module) == (2, True)
    assert parsed.training_script == "sfe_core.training.worker"
    assert parsed.training_script_args == ["a folder", '{"options": {}}']


def test_environment_of_workers(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    on_cpu = launcher_env(plan("cpu", 2), {"PYTHONPATH": "/elsewhere", "HOME": "/h"})
    assert on_cpu["ACCELERATE_USE_CPU"] == "true" and on_cpu["OMP_NUM_THREADS"] == "4"
    root = str(Path(sfe_core.__file__).parents[1])
    assert on_cpu["PYTHONPATH"].startswith(root) and on_cpu["PYTHONPATH"].endswith("/elsewhere")
    assert on_cpu["HOME"] == "/h"
    assert launcher_env(plan("cpu", 2), {"OMP_NUM_THREADS": "1"})["OMP_NUM_THREADS"] == "1"
    assert "ACCELERATE_USE_CPU" not in launcher_env(plan("cuda", 2), {})


@pytest.mark.parametrize("path", sorted(config_folder().rglob("*.yaml")), ids=lambda p: p.name)
def test_every_topology_file_is_one_accelerate_accepts(path):
    config = load_config_from_file(str(path))
    assert config.num_processes == (2 if path.name == "multi-gpu.yaml" else 1)
    assert config.use_cpu == (path.name == "single-cpu.yaml")


def test_topology_files_are_found_inside_a_wheel_too(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "sfe_core"
    (package / "accelerate_configs").mkdir(parents=True)
    monkeypatch.setattr(launching.sfe_core, "__file__", str(package / "__init__.py"))
    with pytest.raises(RunError, match="accelerate_configs.*install sfe again"):
        config_folder()
    (package / "accelerate_configs" / "multi-gpu.yaml").write_text("x: 1\n")
    assert config_folder() == package / "accelerate_configs"


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


def test_events_and_errors_of_a_worker_come_back(workspace):
    script = (
        "import sys\n"
        "from sfe_core.training.worker import tell, TellingReporter\n"
        "print('noise of a library')\n"
        "reporter = TellingReporter()\n"
        "with reporter.task('Training', 2) as task:\n"
        "    task.advance(2, 'loss 1')\n"
        "reporter.say('hello')\n"
        "tell('error', 2, 'here', 'wrong', 'fix it')\n"
        "sys.exit(2)\n"
    )
    listener = Listener()
    environment = launcher_env(plan("cpu", 1), {})
    with pytest.raises(UserError, match="here: wrong; fix it"):
        launching._follow([sys.executable, "-c", script], environment, listener)
    assert listener.done == {"Training": 2} and listener.lines == ["hello"]


def test_a_worker_that_dies_leaves_its_last_words():
    script = "import sys; sys.stderr.write('out of memory\\n'); sys.exit(9)"
    with pytest.raises(RunError, match="code 9: out of memory"):
        launching._follow(
            [sys.executable, "-c", script], launcher_env(plan("cpu", 1), {}), Reporter()
        )


def test_options_and_configuration_reach_the_workers_whole(workspace, monkeypatch):
    seen = {}

    def follow(argv, environment, reporter):
        seen.update(json.loads(argv[-1]))
        raise RunError("stop", "here")

    monkeypatch.setattr(launching, "_follow", follow)
    options = TrainOptions(cpu_processes=2, steps=7, resume="auto")
    with pytest.raises(RunError):
        launch(workspace, options, Reporter())
    sent = TrainOptions(**seen["options"])
    # Nothing to resume: every worker must start the one new run that was named for them.
    assert sent.run and sent.resume is None
    assert dataclasses.replace(sent, run=None, resume="auto") == options
    assert type(workspace.config).model_validate(seen["config"]) == workspace.config
