"""Where a planned run starts: from which checkpoint, or in which new folder."""

from __future__ import annotations

import os
from pathlib import Path

from sfe_core.config.model import Config
from sfe_core.config.workspace import Workspace
from sfe_core.processes.surroundings import is_first
from sfe_core.training.contract import Checked
from sfe_core.training.engine.checkpoints import list_checkpoints
from sfe_core.training.engine.resuming import (
    changes_since,
    choose_checkpoint,
    require_same_form,
    require_unchanged,
)
from sfe_core.training.engine.run_folder import require_free, require_name, require_new
from sfe_core.training.options import TrainOptions


def choose_start(
    workspace: Workspace,
    checked: Checked,
    options: TrainOptions,
    strategy: str,
    notes: list[str],
) -> tuple[Path | None, list[str]]:
    """The checkpoint to go on from, and warnings about it; what is harmless goes to `notes`.

    Raises:
        UserError: it is of another form than the run, or something that bears on learning has
            changed since and that was not accepted.
        RunError: see `choose_checkpoint`.
    """
    config = options.applied_to(workspace).config
    checkpoint, warnings = choose_checkpoint(
        workspace.runs, options.resume, options.run, options.checked
    )
    if checkpoint is not None:
        checkpoint = checkpoint.absolute()  # of a run whose name and neighbours are asked for
        require_same_form(checkpoint, config, strategy, checked.must_match)
        harmless, accepted = _changes(checkpoint, config, checked, options)
        notes += harmless
        warnings += [] if options.checked else accepted
    elif options.resume is not None:
        notes.append("--resume auto: no checkpoint yet, starting a new run")
    return checkpoint, warnings


def look_into_folder(
    runs: Path, options: TrainOptions, resume_from: Path | None, notes: list[str]
) -> tuple[str, ...]:
    """Names of the checkpoints in the run's folder, once it is sure that the run may use it.

    Raises:
        UserError: a new run's name is taken, or is none.
        RunError: another process is at work in it.
    """
    if resume_from is not None:
        run = resume_from.parent
    elif options.run is not None:
        require_name(options.run)
        run = runs / options.run
        if note := require_new(run):
            notes.append(note)
    else:
        return ()
    # The first process of the run itself may be at work in it already.
    if options.node_rank == 0 and is_first(os.environ):
        require_free(run)
    names = options.checkpoints or (folder.name for folder in list_checkpoints(run))
    return tuple(names)


def _changes(
    checkpoint: Path, config: Config, checked: Checked, options: TrainOptions
) -> tuple[list[str], list[str]]:
    """Notes and warnings about what has changed since a checkpoint."""
    told = ("steps",) if options.steps is not None else ()
    changes = changes_since(checkpoint, config, checked.data_sha256, checked.must_match, told)
    if not options.accept_changes:
        require_unchanged(checkpoint, changes)
    notes, warnings = (
        [f"resuming {checkpoint.parent.name} with {change}" for change in kind]
        for kind in (changes.harmless, changes.learning)
    )
    return notes, warnings
