"""Starting a run: in this process, or as N processes under a launcher of our own.

One process is enough where one is asked for, and where a launcher has started all.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from contextlib import suppress

import torch
from pydantic import TypeAdapter

from sfe_core.config.workspace import Workspace
from sfe_core.errors import Interrupted, UserError
from sfe_core.processes.surroundings import find_world, is_first
from sfe_core.reporting import Reporter
from sfe_core.runs.start import plan_training, train
from sfe_core.runs.worker_request import start_workers
from sfe_core.training.engine.checkpoints import going_on, list_checkpoints
from sfe_core.training.engine.run_folder import new_run_name, reserve_run
from sfe_core.training.options import TrainOptions, TrainPlan, TrainSummary


def launch(workspace: Workspace, options: TrainOptions, reporter: Reporter) -> TrainSummary:
    """Train on the devices that `options` name, and wait for the end.

    Raises:
        UserError: see `plan_training` and `join_launcher`.
        RunError: a worker died; the end of what it wrote is in the message.
        Interrupted: Ctrl-C came twice; it says what there is to go on from.
    """
    options = join_launcher(options, os.environ)
    if not is_first(os.environ):
        reporter = Reporter()  # the first one tells
    plan = plan_training(workspace, options)
    reserved = None
    if plan.resume_from is not None:
        run = plan.resume_from.parent
    elif options.run is None and options.node_rank == 0 and is_first(os.environ):
        run = reserved = reserve_run(workspace.runs)
    else:
        run = workspace.runs / (options.run or new_run_name(workspace.runs))
    if plan.resume_from is None:
        # All processes must start the same new run, also where "auto" found nothing.
        options = dataclasses.replace(options, run=run.name, resume=None)
    try:
        alone = plan.processes == 1 and plan.topology.strategy == "ddp"
        if alone or options.joined:
            return train(workspace, options, reporter, plan)
        return _train_in_workers(workspace, options, plan, reporter)
    except KeyboardInterrupt:
        saved = list_checkpoints(run)
        raise Interrupted(
            f"run {run.name}",
            f"interrupted; its newest checkpoint is {saved[-1].name}"
            if saved
            else "interrupted before its first checkpoint",
            f"go on with `{going_on(run)}` and the options of before"
            if saved
            else "the same command starts it anew",
        ) from None
    finally:
        if reserved is not None:
            with suppress(OSError):  # something is in it
                reserved.rmdir()


def _train_in_workers(
    workspace: Workspace, options: TrainOptions, plan: TrainPlan, reporter: Reporter
) -> TrainSummary:
    for warning in plan.warnings:
        reporter.warn(warning)
    if plan.resume_from is not None:
        options = dataclasses.replace(
            options, resume=str(plan.resume_from), checked=True, checkpoints=plan.checkpoints
        )
    result = start_workers("train", workspace, options, plan, reporter)
    return TypeAdapter(TrainSummary).validate_python(result)


def join_launcher(options: TrainOptions, environment: Mapping[str, str]) -> TrainOptions:
    """The options of a process that torchrun or accelerate has started as one of several.

    Unchanged where it was started alone, or once on each machine.

    Raises:
        UserError: this launcher's processes cannot be joined, or not as the options say.
    """
    world = find_world(environment)
    if options.joined or world is None or world.size == options.nodes > 1:
        return options
    device = "--gpus" if torch.cuda.is_available() else "--cpu-processes"
    if world.rank is None:
        raise UserError(
            "sfe train",
            f"{world.launcher} started {world.size} of it, and each would train on its own",
            f"start it once, with {device} N for N processes; for several machines once on each, "
            "with --nodes, --node-rank and --main-address",
        )
    here, machines = world.local_size, world.machines
    asked = {
        "--gpus": (options.gpus, here),
        "--cpu-processes": (options.cpu_processes, here),
        "--nodes": (None if options.nodes == 1 else options.nodes, machines),
    }
    for name, (value, found) in asked.items():
        if value not in (None, found):
            raise UserError(
                f"{name} {value}",
                f"{world.launcher} has started {here} processes on {machines} machine(s)",
                f"leave out {name}, or {world.launcher}: `sfe train` starts processes itself",
            )
    if options.strategy != "ddp":
        raise UserError(
            f"--strategy {options.strategy}",
            f"{world.launcher} has started the processes otherwise",
            f"without {world.launcher}: `sfe train {device} {here} --strategy {options.strategy}`",
        )
    on_cpu = options.cpu_processes is not None or (
        options.gpus is None and not torch.cuda.is_available()
    )
    return dataclasses.replace(
        options,
        gpus=None if on_cpu else here,
        cpu_processes=here if on_cpu else None,
        nodes=machines,
        node_rank=world.rank // here,
        main_address=world.address,
        joined=True,
    )


def refuse_launcher(what: str, environment: Mapping[str, str]) -> None:
    """Raise a UserError if a launcher started several of a command that is to be started once."""
    world = find_world(environment)
    if world is not None:
        raise UserError(
            what, f"{world.launcher} started {world.size} of it", "start it once, without that"
        )
