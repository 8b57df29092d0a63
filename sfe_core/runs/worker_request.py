"""What the worker processes of a run are asked to do, and starting them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sfe_core.config.model import Config
from sfe_core.config.workspace import Workspace
from sfe_core.processes.launching import run_workers
from sfe_core.processes.placement import Placement
from sfe_core.reporting import Reporter
from sfe_core.training.options import TrainOptions, TrainPlan

TaskName = Literal["train", "rehearse", "try_sizes"]
MODULE = "sfe_core.runs.worker"


@dataclass(frozen=True)
class Request:
    """What a worker is told, see `worker.work`.

    Attributes:
        workspace: its folder.
        config: the effective configuration; None: what the folder's sfe.yaml says.
        options: of the run.
        task: to train, or one of preflight's.
    """

    workspace: Path
    config: Config | None = None
    options: TrainOptions = field(default_factory=TrainOptions)
    task: TaskName = "train"


def start_workers(
    task: TaskName,
    workspace: Workspace,
    options: TrainOptions,
    plan: TrainPlan,
    reporter: Reporter,
    processes: int | None = None,
) -> Any:
    """Do a task in processes of its own, and wait for their end.

    Args:
        task: what they do.
        workspace, options, plan: of the run.
        reporter: takes what the first process says.
        processes: how many; None: as many as planned.

    Returns:
        The result of `worker.work`, as JSON-able values.

    Raises:
        SfeError: a worker told it; a RunError if one died.
    """
    request = Request(workspace.root, workspace.config, options, task)
    placement = Placement(plan.device, processes or plan.processes)
    who = "training worker" if task == "train" else "preflight"
    return run_workers(MODULE, request, placement, reporter, who, topology=plan.topology)
