"""Starting a run: in this process if one is enough, else as N processes under a launcher."""

from __future__ import annotations

import dataclasses
import json
import os

from sfe_core.config.workspace import Workspace
from sfe_core.errors import RunError
from sfe_core.launching import follow, launcher_argv, launcher_env
from sfe_core.reporting import Reporter
from sfe_core.training.build import new_run_name
from sfe_core.training.options import TrainOptions, TrainSummary
from sfe_core.training.plan import plan_training
from sfe_core.training.recipe import train
from sfe_core.training.worker import summary_from_json

WORKER = "sfe_core.training.worker"


def launch(workspace: Workspace, options: TrainOptions, reporter: Reporter) -> TrainSummary:
    """Train on the devices that `options` name, and wait for the end.

    Raises:
        UserError: see `plan_training`.
        RunError: a worker died; the end of what it wrote is in the message.
    """
    plan = plan_training(workspace, options)
    if plan.processes == 1 and plan.topology.strategy == "ddp":
        return train(workspace, options, reporter, plan)
    for warning in plan.warnings:
        reporter.warn(warning)
    if plan.resume_from is not None:
        options = dataclasses.replace(options, resume=str(plan.resume_from), checked=True)
    elif options.run is None:
        # "auto" found nothing: the workers must start the same new run.
        name = new_run_name(workspace.runs)
        options = dataclasses.replace(options, run=name, resume=None)
    request = {
        "options": dataclasses.asdict(options),
        "config": workspace.config.model_dump(mode="json"),
    }
    arguments = [str(workspace.root), json.dumps(request)]
    argv = launcher_argv(WORKER, plan.device, plan.processes, arguments, plan.topology)
    local = plan.processes // plan.topology.nodes
    environment = launcher_env(plan.device, local, os.environ)
    result = follow(argv, environment, reporter, "training worker")
    if result is None:
        raise RunError("training worker", "ended without a result", "report this")
    return summary_from_json(result)
