"""A run's folder: its name, the lock that keeps other runs out, and what is put aside in it."""

from __future__ import annotations

import itertools
import json
import os
import platform
import re
import shutil
import time
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import accelerate
import torch
import yaml
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from filelock import FileLock, Timeout

from sfe_core.config.model import Config
from sfe_core.config.workspace import Workspace
from sfe_core.errors import RunError, SfeError, UserError, error_of
from sfe_core.files import write_text
from sfe_core.training.engine.checkpoints import clear_remains, list_checkpoints
from sfe_core.training.engine.resuming import CONFIG
from sfe_core.training.engine.runlog import METRICS
from sfe_core.training.options import TrainOptions, TrainPlan

STARTS = "starts.jsonl"
LOCK = ".lock"
_HOLDER = ".holder.json"


def new_run_name(runs: Path) -> str:
    """The local time, YYYYmmdd-HHMMSS; -2, -3 … after it where that run exists."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    name, count = stamp, 1
    while (runs / name).exists():
        count += 1
        name = f"{stamp}-{count}"
    return name


def reserve_run(runs: Path) -> Path:
    """A new run's folder, made: of several processes that ask at once, each gets its own.

    Raises:
        RunError: it cannot be made.
    """
    while True:
        run = runs / new_run_name(runs)
        try:
            run.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise _unwritable(run, error) from error
        return run


def name_after(runs: Path, word: str, going_on: bool) -> str:
    """A run's name made of a word: the word, or with -2, -3 … the first that is free.

    Args:
        runs: the folder of all runs.
        word: signs that names may not have become hyphens.
        going_on: give the last that is taken instead.
    """
    stem = re.sub(r"[^\w-]+", "-", word).strip("-") or "run"
    last, name = stem, stem
    for number in itertools.count(2):
        if not (runs / name).exists():
            break
        last, name = name, f"{stem}-{number}"
    return last if going_on else name


def require_name(name: str) -> None:
    """Raise a UserError if a new run's folder cannot be called so."""
    odd = name.startswith(".") or "\\" in name or not name.isprintable()
    if odd or not name.strip() or Path(name).name != name:
        raise UserError(
            f"--run {name!r}", "is not a name of a folder", "use letters, digits, . _ and -"
        )


def require_new(run: Path) -> str | None:
    """See that a new run may use a folder; a note, if one that saved nothing did before.

    Raises:
        UserError: there are checkpoints in it.
    """
    if list_checkpoints(run):
        raise UserError(
            f"run {run.name}",
            "exists already",
            f"choose another name, or go on with `sfe train --resume {run.name}`",
        )
    if (run / CONFIG).exists():
        return f"run {run.name} was begun before and saved nothing: it starts anew"
    return None


def require_free(run: Path) -> None:
    """Raise a RunError if another process trains in a run's folder; writes nothing."""
    if (run / LOCK).is_file():
        lock_run(run, sign=False).release()


def lock_run(run: Path, sign: bool = True) -> FileLock:
    """Keep every other run out of a folder, which is made.

    The system lets go of the lock when the process ends, however it ends.

    Args:
        run: the folder.
        sign: leave word there of who holds it.

    Raises:
        RunError: another process holds it, or the folder cannot be written.
    """
    try:
        run.mkdir(parents=True, exist_ok=True)
        lock = FileLock(run / LOCK)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise RunError(
            f"run {run.name}",
            f"another `sfe train` is at work in it{_holder(run)}",
            "wait for its end, or start a run of another name",
        ) from error
    except OSError as error:
        raise _unwritable(run, error) from error
    if sign:
        word = {"pid": os.getpid(), "host": platform.node(), "started": _now()}
        with suppress(OSError):
            (run / _HOLDER).write_text(json.dumps(word), encoding="utf-8")
    return lock


def open_run(
    workspace: Workspace, plan: TrainPlan, options: TrainOptions, accelerator: Accelerator
) -> tuple[Path, FileLock | None]:
    """The run's folder, the same for every process, and the lock on it, which the first one holds.

    It is new unless the plan resumes one.

    Raises:
        UserError: a run of that name has checkpoints.
        RunError: another process is at work in it, or was since the plan was made.
    """
    lock = None
    answer: dict[str, Any] = {}
    if accelerator.is_main_process:
        try:
            run, lock = _lock_planned(workspace.runs, plan, options)
            answer["run"] = str(run)
        except SfeError as error:
            answer["error"] = (error.exit_code, error.where, error.problem, error.remedy)
    # What stops the first process stops all, instead of leaving them waiting for it.
    answer = broadcast_object_list([answer])[0]
    if "error" in answer:
        raise error_of(*answer["error"])
    return Path(answer["run"]), lock


def _lock_planned(runs: Path, plan: TrainPlan, options: TrainOptions) -> tuple[Path, FileLock]:
    if plan.resume_from is not None:
        run = plan.resume_from.parent
    else:
        run = runs / options.run if options.run else reserve_run(runs)
    lock = lock_run(run)
    try:
        if plan.resume_from is None:
            require_new(run)
        _require_as_planned(run, plan)
        clear_remains(run)
    except BaseException:
        lock.release()
        raise
    return run, lock


def _require_as_planned(run: Path, plan: TrainPlan) -> None:
    """Raise a RunError if somebody else saved in the run between its plan and its lock."""
    now = tuple(folder.name for folder in list_checkpoints(run))
    if now != plan.checkpoints:
        raise RunError(
            f"run {run.name}", "another process has just trained in it", "start this one again"
        )


def put_aside_newer(checkpoint: Path) -> Path | None:
    """Put what a run saved and wrote after `checkpoint` into a folder of its own.

    They are of another continuation: they would be taken for the newest, and make this one's the
    oldest, which are deleted first.

    Returns:
        The folder, None where there was nothing newer.
    """
    run = checkpoint.parent
    every = list_checkpoints(run)
    newer = every[every.index(checkpoint) + 1 :]
    if not newer:
        return None
    folder, count = run / f"after-{checkpoint.name}", 1
    while folder.exists():
        count += 1
        folder = run / f"after-{checkpoint.name}-{count}"
    folder.mkdir()
    for one in newer:
        one.rename(folder / one.name)
    for name in (METRICS, CONFIG):
        if (run / name).is_file():
            shutil.copyfile(run / name, folder / name)
    return folder


def note_start(run: Path, plan: TrainPlan) -> None:
    """Add a line to starts.jsonl: on what, and in which surroundings, the run starts or goes on."""
    line = {
        "at": _now(),
        "updates_done": plan.start_step,
        "device": plan.device,
        "processes": plan.processes,
        "strategy": plan.topology.strategy,
        "precision": plan.precision,
        "batch": [plan.batch_size, plan.accumulation],
        "torch": torch.__version__,
        "accelerate": accelerate.__version__,
        "environment": plan.environment,
    }
    with open(run / STARTS, "a", encoding="utf-8") as stream:
        stream.write(json.dumps(line) + "\n")


def write_config(run: Path, config: Config) -> None:
    """Write config.yaml, the effective configuration of the run."""
    plain = config.model_dump(mode="json")
    write_text(run / CONFIG, yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))


def _holder(run: Path) -> str:
    """Who holds the lock, as the end of a clause; empty where that is not known."""
    try:
        known = json.loads((run / _HOLDER).read_text(encoding="utf-8"))
        there = "" if known["host"] == platform.node() else f" of {known['host']}"
        return f" (process {known['pid']}{there}, since {known['started']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _unwritable(run: Path, error: OSError) -> RunError:
    return RunError(run, f"cannot be written ({error.strerror})", "check its permissions and space")
