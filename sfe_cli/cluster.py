"""`sfe train --cluster`: the same command as a job of HTCondor or Slurm."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer
from typer.core import TyperOption

from sfe_cli import render

if TYPE_CHECKING:
    from sfe_core.config.workspace import Workspace
    from sfe_core.training.options import TrainOptions

# Parameters of `sfe train` that a job does not repeat as they were typed, and why. It repeats every
# other one.
NOT_REPEATED = {
    "workspace": "a job starts in any folder: its path is written out",
    "batch_size": "auto is measured here, once: the number found is written out",
    "name": "the job's run has a name before it starts",
    "resume": "a job goes on with its own run at every start, see `plan_job`",
    "nodes": "only the Slurm script knows the machines",
    "node_rank": "refused, see REFUSED",
    "main_address": "refused, see REFUSED",
    "preflight": "refused, see REFUSED",
    "cluster": "the job is what it asks for",
    "dry_run": "prints the job instead of handing it in",
}
# What makes no sense for a job, and what to do instead.
REFUSED = {
    "node_rank": "leave it out: the job's machines are numbered by the scheduler",
    "main_address": "leave it out: the job's machines are named by the scheduler",
    "preflight": "it rehearses on this machine: leave out --cluster",
}


def refuse_for_job(context: typer.Context) -> None:
    """Raise a UserError for an option that a job cannot have."""
    from sfe_core.errors import UserError

    for option in _given(context):
        if option.name in REFUSED:
            raise UserError(f"{option.opts[0]} with --cluster", "refused", REFUSED[option.name])


def hand_in(workspace: Workspace, chosen: TrainOptions, context: typer.Context) -> None:
    """Hand the run in as a job, or print the job's description where `chosen` is a dry run."""
    from sfe_core.runs.cluster import describe, plan_job, submit

    scheduler: str = context.params["cluster"]
    words = [sys.executable, "-m", "sfe_cli.main", "train"]
    words += ["--workspace", str(workspace.root.resolve())]
    if chosen.batch_size is not None:
        words += ["--batch-size", str(chosen.batch_size)]
    words += repeated_words(context)
    job = plan_job(workspace, chosen, words)
    if chosen.dry_run:
        typer.echo(describe(scheduler, job, os.environ), nl=False)
        return
    path, answer = submit(scheduler, job, os.environ)
    render.facts([("job", path), ("run", job.folder.parent), (scheduler, answer)])


def repeated_words(context: typer.Context) -> list[str]:
    """The options of a command as they would be typed, without those of `NOT_REPEATED`."""
    words: list[str] = []
    for option in _given(context):
        if option.name in NOT_REPEATED:
            continue
        value = context.params[option.name]
        if option.is_flag:
            words += (option.opts if value else option.secondary_opts)[:1]
            continue
        for one in value if option.multiple else [value]:
            words += [option.opts[0], str(one)]
    return words


def _given(context: typer.Context) -> Iterator[TyperOption]:
    """The options of a command that have another value than by default."""
    for option in context.command.params:
        assert isinstance(option, TyperOption) and option.name is not None  # it takes no arguments
        value = context.params[option.name]
        if value != option.default and value not in (None, [], ()):
            yield option
