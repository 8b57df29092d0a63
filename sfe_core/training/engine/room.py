"""Disk space for the next checkpoint: measured, and made by deleting old ones."""

from __future__ import annotations

import shutil
from pathlib import Path

from sfe_core.errors import RunError
from sfe_core.training.engine.checkpoints import (
    best_checkpoint,
    delete_checkpoint,
    list_checkpoints,
    that_learnt,
)
from sfe_core.wording import bytes_told

_MARGIN = 1.05  # of logs, pictures and others who write on that disk meanwhile
_FLOAT_BYTES = 4
_MOMENTS = 2  # AdamW


def needed_bytes(run: Path, parameters: int, averaged: bool) -> int:
    """Bytes that the next checkpoint of a run takes: as many as the last, else an upper bound.

    Args:
        run: the run's folder.
        parameters: of UNet and guidance encoders.
        averaged: whether the moving average is saved too.
    """
    checkpoints = list_checkpoints(run)
    if checkpoints:
        size = _size(checkpoints[-1])
    else:
        size = _FLOAT_BYTES * parameters * (1 + averaged + _MOMENTS)
    return int(size * _MARGIN)


def make_room(run: Path, needed: int, metric: str) -> None:
    """See that `needed` bytes are free, deleting old checkpoints if it must be.

    The newest, the last that learnt and the best are never deleted.

    Raises:
        RunError: there is not enough space even so; nothing is deleted then.
    """
    free = shutil.disk_usage(run).free
    keep = {best_checkpoint(run, metric), *that_learnt(run)[-1:]}
    spare = [folder for folder in list_checkpoints(run)[:-1] if folder not in keep]
    if free + sum(map(_size, spare)) < needed:
        raise RunError(
            run,
            f"a checkpoint takes {bytes_told(needed)}, and {bytes_told(free)} are free on its disk",
            "free space, or choose a smaller train.keep_checkpoints",
        )
    while spare and shutil.disk_usage(run).free < needed:
        delete_checkpoint(spare.pop(0))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
