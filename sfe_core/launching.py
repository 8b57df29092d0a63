"""Several worker processes on the GPUs or cores of one machine, started, followed and ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import sfe_core
from sfe_core.errors import RunError, UserError
from sfe_core.reporting import Reporter, Task
from sfe_core.worker_events import EVENT_MARK

_TAIL_LINES = 12


def launcher_argv(module: str, device: str, processes: int, arguments: Sequence[str]) -> list[str]:
    """The command that starts `processes` times `python -m module arguments`.

    Args:
        module: of the worker.
        device: "cuda" through accelerate, one GPU a process; "cpu" through torchrun.
        processes: how many.
        arguments: the same for all; each learns its number from RANK.
    """
    if device == "cpu":
        # accelerate's MULTI_CPU launcher starts one process where there is no MPI.
        launcher = ["torch.distributed.run", "--standalone"]
        launcher += [f"--nproc_per_node={processes}", "-m"]
    else:
        topology = config_folder() / "multi-gpu.yaml"
        launcher = ["accelerate.commands.launch", f"--config_file={topology}"]
        launcher += [f"--num_processes={processes}", "--module"]
    return [sys.executable, "-m", *launcher, module, *arguments]


def launcher_env(device: str, processes: int, environment: Mapping[str, str]) -> dict[str, str]:
    """The workers' environment: on the CPU, told so, and with the cores shared out."""
    changed = dict(environment)
    # The workers must import this very package, wherever the caller stands.
    folders = [str(Path(sfe_core.__file__).parents[1]), environment.get("PYTHONPATH", "")]
    changed["PYTHONPATH"] = os.pathsep.join(folder for folder in folders if folder)
    if device == "cpu":
        changed["ACCELERATE_USE_CPU"] = "true"
        threads = max(1, (os.cpu_count() or 1) // processes)
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
    """Hands the workers' events to a reporter."""

    def __init__(self, reporter: Reporter, tasks: ExitStack, task: Task | None) -> None:
        self._reporter, self._tasks, self._task = reporter, tasks, task
        self.result: dict[str, Any] | None = None
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
            self.result = arguments[0]
        elif event == "error" and self.error is None:
            code, *words = arguments
            self.error = (UserError if code == UserError.exit_code else RunError)(*words)


def follow(
    argv: Sequence[str],
    environment: Mapping[str, str],
    reporter: Reporter,
    who: str,
    task: Task | None = None,
) -> dict[str, Any] | None:
    """Run a launcher to its end, passing on what its workers tell.

    Args:
        argv, environment: of the launcher.
        reporter: takes what the workers say, and the tasks that they open.
        who: what to call the workers in an error.
        task: takes the progress of workers that open no task.

    Returns:
        What a worker told with `done`, if any did.

    Raises:
        UserError, RunError: a worker told it, or one died; then the end of what it wrote is in it.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as complaints:
        process = subprocess.Popen(
            list(argv),
            env=dict(environment),
            stdin=subprocess.PIPE,  # never written to; its end tells workers that we are gone
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
        )
        assert process.stdout is not None
        try:
            with ExitStack() as tasks:
                relay = _Relay(reporter, tasks, task)
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
        if code:
            raise RunError(who, f"ended with code {code}: {_tail(complaints)}")
        return relay.result


def _tail(stream: IO[str]) -> str:
    """The last lines of what was written to a file."""
    stream.seek(0)
    lines = [line.strip() for line in stream.readlines() if line.strip()]
    return " / ".join(lines[-_TAIL_LINES:])
