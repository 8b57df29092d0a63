"""`sfe train --cluster`: the same command as a job of HTCondor or Slurm."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from sfe_cli import render

if TYPE_CHECKING:
    from sfe_core.config.workspace import Workspace
    from sfe_core.training.engine.options import TrainOptions

# Fields of TrainOptions that a job repeats as they were given.
_FLAGS = {
    "gpus": "--gpus",
    "cpu_processes": "--cpu-processes",
    "strategy": "--strategy",
    "batch_size": "--batch-size",
    "effective_batch": "--effective-batch",
    "steps": "--steps",
}


def hand_in(
    scheduler: str, workspace: Workspace, chosen: TrainOptions, changes: Sequence[str]
) -> None:
    """Hand the run in as a job, or print the job's description where `chosen` is a dry run."""
    from sfe_core.runs.cluster import describe, plan_job, submit

    job = plan_job(workspace, chosen, command_words(workspace.root, chosen, changes))
    if chosen.dry_run:
        typer.echo(describe(scheduler, job, os.environ), nl=False)
        return
    path, answer = submit(scheduler, job, os.environ)
    render.facts([("job", path), ("run", job.folder.parent), (scheduler, answer)])


def command_words(root: Path, chosen: TrainOptions, changes: Sequence[str]) -> list[str]:
    """Interpreter and words of this very `sfe train`, without --cluster, --run and --resume."""
    words = [sys.executable, "-m", "sfe_cli.main", "train", "--workspace", str(root.resolve())]
    for name, flag in _FLAGS.items():
        value = getattr(chosen, name)
        if value is not None:
            words += [flag, str(value)]
    for change in changes:
        words += ["--set", change]
    return words
