"""Worker processes on the GPUs or cores of one machine or more, started, followed and ended."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from joblib import cpu_count

import sfe_core
from sfe_core.errors import RunError, SfeError, error_of
from sfe_core.processes.placement import Placement
from sfe_core.processes.stopping_signals import Forwarding
from sfe_core.processes.surroundings import for_children
from sfe_core.processes.threads import THREADS, wait_briefly
from sfe_core.processes.worker import EVENT_MARK, as_json
from sfe_core.reporting import Reporter, Task

_TAIL_LINES = 12
# torchrun may put a worker's rank before every line of its traceback.
_RANK = re.compile(r"^\[\w+\]: ?", re.MULTILINE)
# The line after a traceback's indented ones: the exception and what it says.
_RAISED = re.compile(r"^Traceback \(most recent call last\):\n(?:[ \t].*\n)+(\S.*)$", re.MULTILINE)
# What torchrun says of the first worker that died, where a signal killed it.
_KILLED = re.compile(r"Root Cause .*Signal \d+ \((\w+)\) received by PID", re.DOTALL)

# Name of a strategy to the accelerate configuration that a machine's GPUs are started with.
STRATEGY_FILES = {
    "ddp": "multi-gpu.yaml",
    "fsdp": "fsdp.yaml",
    "zero2": "zero2.yaml",
    "zero2-offload": "zero2-offload.yaml",
}
DEFAULT_PORT = 29500


@dataclass(frozen=True)
class Topology:
    """How the processes of a run share its work, and over which machines.

    Attributes:
        strategy: a name of `STRATEGY_FILES`: whole copies (DDP), sharded weights (FSDP), sharded
            optimiser state and gradients (DeepSpeed ZeRO-2), the same with that state in main
            memory.
        nodes: machines.
        node_rank: this machine's number, from 0.
        main_address: host[:port] of machine 0; needed for several machines.
    """

    strategy: str = "ddp"
    nodes: int = 1
    node_rank: int = 0
    main_address: str = ""

    @property
    def host_and_port(self) -> tuple[str, int]:
        """Where the processes meet."""
        host, _, port = self.main_address.partition(":")
        return host, int(port) if port else DEFAULT_PORT


ONE_MACHINE = Topology()


def launcher_argv(
    module: str,
    device: str,
    processes: int,
    arguments: Sequence[str],
    topology: Topology = ONE_MACHINE,
) -> list[str]:
    """The command that starts this machine's share of `processes` times `python -m module`.

    Args:
        module: of the worker.
        device: "cuda" through accelerate, one GPU a process; "cpu" through torchrun. A process
            that shares nothing with others needs neither.
        processes: how many, over all machines.
        arguments: the same for all; each learns its number from RANK.
        topology: over which machines, and by which strategy.
    """
    if processes == 1 and topology.strategy == "ddp":
        return [sys.executable, "-m", module, *arguments]
    starter = _torchrun if device == "cpu" else _accelerate
    return [sys.executable, "-m", *starter(processes, topology), module, *arguments]


def _torchrun(processes: int, topology: Topology) -> list[str]:
    # accelerate's MULTI_CPU launcher starts one process where there is no MPI.
    launcher = ["torch.distributed.run"]
    if topology.nodes == 1:
        launcher += ["--standalone"]
    else:
        host, port = topology.host_and_port
        launcher += [f"--nnodes={topology.nodes}", f"--node_rank={topology.node_rank}"]
        launcher += [f"--master_addr={host}", f"--master_port={port}"]
    return [*launcher, f"--nproc_per_node={processes // topology.nodes}", "-m"]


def _accelerate(processes: int, topology: Topology) -> list[str]:
    # The file says what one machine of that strategy needs; the flags below say over how many.
    file = config_folder() / STRATEGY_FILES[topology.strategy]
    launcher = ["accelerate.commands.launch", f"--config_file={file}"]
    launcher += [f"--num_processes={processes}"]
    if topology.nodes > 1:
        host, port = topology.host_and_port
        launcher += [f"--num_machines={topology.nodes}", f"--machine_rank={topology.node_rank}"]
        launcher += [f"--main_process_ip={host}", f"--main_process_port={port}"]
        launcher += ["--same_network"]
        if topology.strategy.startswith("zero2"):
            # Every machine starts its own processes, as `sfe train` is called on each: no pdsh.
            launcher += ["--deepspeed_multinode_launcher=standard"]
    return [*launcher, "--module"]


def launcher_env(device: str, processes: int, environment: Mapping[str, str]) -> dict[str, str]:
    """The workers' environment: on the CPU, told so, and with the cores shared out.

    What the launcher says in it is said by its own arguments, not by what was in `environment`.
    """
    changed = for_children(environment)
    # The workers must import this very package, wherever the caller stands.
    folders = [str(Path(sfe_core.__file__).parents[1]), environment.get("PYTHONPATH", "")]
    changed["PYTHONPATH"] = os.pathsep.join(folder for folder in folders if folder)
    if device == "cpu":
        changed["ACCELERATE_USE_CPU"] = "true"
        threads = max(1, cpu_count() // processes)
        changed.setdefault(THREADS, str(threads))
        wait_briefly(changed)
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


def run_workers(
    module: str,
    request: Any,
    placement: Placement,
    reporter: Reporter,
    who: str,
    task: Task | None = None,
    topology: Topology = ONE_MACHINE,
) -> Any:
    """Have a worker's module do its work in several processes, and wait for their end.

    Args:
        module: of the worker, see `processes.worker`.
        request: the dataclass that it takes; each process learns its number from RANK.
        placement: the processes, over all machines.
        reporter: takes what the workers say, and the tasks that they open.
        who: what to call the workers in an error.
        task: takes the progress of workers that open no task.
        topology: over which machines, and by which strategy.

    Returns:
        The result of the work, as JSON-able values.

    Raises:
        SfeError: a worker told it.
        RunError: one died; then the end of what it wrote is in it.
    """
    processes, machines = placement.processes, topology.nodes
    with tempfile.TemporaryDirectory(prefix="sfe-") as folder:
        file = Path(folder) / "request.json"
        file.write_text(json.dumps(as_json(request)), encoding="utf-8")
        argv = launcher_argv(module, placement.device, processes, [str(file)], topology)
        environment = launcher_env(placement.device, max(1, processes // machines), os.environ)
        return follow(argv, environment, reporter, who, task)


class _Relay:
    """Hands the workers' events to a reporter."""

    def __init__(
        self, reporter: Reporter, tasks: ExitStack, task: Task | None, forwarding: Forwarding
    ) -> None:
        self._reporter, self._tasks, self._task = reporter, tasks, task
        self._forwarding = forwarding
        self.done = False
        self.result: Any = None
        self.error: SfeError | None = None

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
        elif event == "show":
            self._reporter.show(*arguments)
        elif event == "pid":
            self._forwarding.add(*arguments)
        elif event == "done":
            self.done, self.result = True, arguments[0]
        elif event == "error" and self.error is None:
            self.error = error_of(*arguments)


def follow(
    argv: Sequence[str],
    environment: Mapping[str, str],
    reporter: Reporter,
    who: str,
    task: Task | None = None,
) -> Any:
    """Run a launcher to its end, passing on what its workers tell.

    Signals that ask us to end (`STOPPING_SIGNALS`) go to those workers that told their `pid`.

    Args:
        argv, environment: of the launcher.
        reporter: takes what the workers say, and the tasks that they open.
        who: what to call the workers in an error.
        task: takes the progress of workers that open no task.

    Returns:
        What a worker told with `done`.

    Raises:
        SfeError: a worker told it.
        RunError: one died; then the end of what it wrote is in it. Or none told that it was done.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as complaints:
        process = subprocess.Popen(
            list(argv),
            env=dict(environment),
            stdin=subprocess.PIPE,  # never written to; its end tells workers that we are gone
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            # A terminal's Ctrl-C is for us alone: launchers give workers no time to save.
            start_new_session=True,
        )
        assert process.stdout is not None
        try:
            with Forwarding() as forwarding, ExitStack() as tasks:
                relay = _Relay(reporter, tasks, task, forwarding)
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
            raise _death(who, code, complaints)
        if not relay.done:
            raise RunError(who, "ended without a result", "report this")
        return relay.result


def _death(who: str, code: int, stream: IO[str]) -> RunError:
    """What a worker died of: a signal, the exception it ended with, or the last lines it wrote."""
    stream.seek(0)
    text = _RANK.sub("", stream.read())
    if killed := _KILLED.search(text):
        remedy = "unless somebody did that, the machine ran short of main memory"
        signal = killed[1]
        return RunError(who, f"was killed by {signal}", remedy if signal == "SIGKILL" else "")
    # The launcher adds a traceback of its own, which says no more than that a worker failed.
    raised = [line for line in _RAISED.findall(text) if not line.startswith("torch.distributed.")]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    reason = raised[-1] if raised else " / ".join(lines[-_TAIL_LINES:])
    return RunError(who, f"ended with code {code}: {reason}")
