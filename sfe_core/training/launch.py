"""Starting a run: in this process if one is enough, else as N processes under a launcher."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import sfe_core
from sfe_core.config.workspace import Workspace
from sfe_core.errors import RunError, UserError
from sfe_core.reporting import Reporter, Task
from sfe_core.training.build import new_run_name
from sfe_core.training.options import TrainOptions, TrainPlan, TrainSummary
from sfe_core.training.plan import plan_training
from sfe_core.training.recipe import train
from sfe_core.training.worker import EVENT_MARK, summary_from_json

WORKER = "sfe_core.training.worker"
_TAIL_LINES = 12


def launch(workspace: Workspace, options: TrainOptions, reporter: Reporter) -> TrainSummary:
    """Train on the devices that `options` name, and wait for the end.

    Raises:
        UserError: see `plan_training`.
        RunError: a worker died; the end of what it wrote is in the message.
    """
    plan = plan_training(workspace, options)
    if plan.processes == 1:
        return train(workspace, options, reporter)
    if plan.resume_from is not None:
        options = dataclasses.replace(options, resume=str(plan.resume_from))
    elif options.run is None:
        # "auto" found nothing: the workers must start the same new run.
        name = new_run_name(workspace.runs)
        options = dataclasses.replace(options, run=name, resume=None)
    request = {
        "options": dataclasses.asdict(options),
        "config": workspace.config.model_dump(mode="json"),
    }
    arguments = [str(workspace.root), json.dumps(request)]
    return _follow(launcher_argv(plan, arguments), launcher_env(plan, os.environ), reporter)


def launcher_argv(plan: TrainPlan, arguments: list[str]) -> list[str]:
    """The command that starts `plan.processes` workers with `arguments`."""
    if plan.device == "cpu":
        # accelerate's MULTI_CPU launcher starts one process where there is no MPI.
        launcher = ["torch.distributed.run", "--standalone"]
        launcher += [f"--nproc_per_node={plan.processes}", "-m"]
    else:
        topology = config_folder() / "multi-gpu.yaml"
        launcher = ["accelerate.commands.launch", f"--config_file={topology}"]
        launcher += [f"--num_processes={plan.processes}", "--module"]
    return [sys.executable, "-m", *launcher, WORKER, *arguments]


def launcher_env(plan: TrainPlan, environment: Mapping[str, str]) -> dict[str, str]:
    """The workers' environment: on the CPU, told so, and with the cores shared out."""
    changed = dict(environment)
    # The workers must import this very package, wherever the caller stands.
    folders = [str(Path(sfe_core.__file__).parents[1]), environment.get("PYTHONPATH", "")]
    changed["PYTHONPATH"] = os.pathsep.join(folder for folder in folders if folder)
    if plan.device == "cpu":
        changed["ACCELERATE_USE_CPU"] = "true"
        threads = max(1, (os.cpu_count() or 1) // plan.processes)
        changed.setdefault("OMP_NUM_THREADS", str(threads))
    return changed


def config_folder() -> Path:
    """Where the accelerate configurations lie: inside the wheel, or beside the checkout's packages.

    Raises:
        RunError: in neither place.
    """
    package = Path(sfe_core.__file__).parent
    for folder in (package / "accelerate_configs", package.parent / "accelerate_configs"):
        if (folder / "multi-gpu.yaml").is_file():
            return folder
    raise RunError(
        package / "accelerate_configs", "is missing from this installation", "install sfe again"
    )


class _Relay:
    """Hands a worker's events to a reporter."""

    def __init__(self, reporter: Reporter, tasks: ExitStack) -> None:
        self._reporter, self._tasks = reporter, tasks
        self._task: Task | None = None
        self.summary: TrainSummary | None = None
        self.error: UserError | RunError | None = None

    def take(self, event: str, *arguments: Any) -> None:
        """Act on one event."""
        if event == "open":
            self._task = self._tasks.enter_context(self._reporter.task(*arguments))
        elif event == "advance" and self._task is not None:
            self._task.advance(*arguments)
        elif event == "close":
            self._tasks.close()
        elif event == "say":
            self._reporter.say(*arguments)
        elif event == "warn":
            self._reporter.warn(*arguments)
        elif event == "done":
            self.summary = summary_from_json(*arguments)
        elif event == "error" and self.error is None:
            code, *words = arguments
            self.error = (UserError if code == UserError.exit_code else RunError)(*words)


def _follow(argv: list[str], environment: dict[str, str], reporter: Reporter) -> TrainSummary:
    """Run a launcher to its end, passing on what its first worker tells."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as complaints:
        process = subprocess.Popen(
            argv, env=environment, stdout=subprocess.PIPE, stderr=complaints, text=True
        )
        assert process.stdout is not None
        try:
            with ExitStack() as tasks:
                relay = _Relay(reporter, tasks)
                for line in process.stdout:
                    if line.startswith(EVENT_MARK):
                        relay.take(*json.loads(line.removeprefix(EVENT_MARK)))
            code = process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
        if relay.error is not None:
            raise relay.error
        if code or relay.summary is None:
            raise RunError("training worker", f"ended with code {code}: {_tail(complaints)}")
        return relay.summary


def _tail(stream: IO[str]) -> str:
    """The last lines of what was written to a file."""
    stream.seek(0)
    lines = [line.strip() for line in stream.readlines() if line.strip()]
    return " / ".join(lines[-_TAIL_LINES:])
