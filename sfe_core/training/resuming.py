"""Where a run goes on from, and what has changed since that checkpoint was saved."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import yaml

from sfe_core.config.model import Config
from sfe_core.errors import RunError, UserError
from sfe_core.training.checkpoints import (
    find_newest,
    list_checkpoints,
    newest_sound,
    read_meta,
    resolve_checkpoint,
    verify_checkpoint,
)

CONFIG = "config.yaml"
_SECTIONS = ("model", "guidance", "train", "data", "loss")
# These bear on speed, memory and what is written down, not on what is learnt. (Whether the base is
# the same is told by its hash, not by its path.)
_HARMLESS = {
    "model": {"base"},
    "train": {
        "batch_size",
        "best_metric",
        "channels_last",
        "checkpoint_every",
        "compile",
        "ema_device",
        "gradient_checkpointing",
        "keep_checkpoints",
        "loader_workers",
        "log_every",
        "max_skipped_updates",
        "sample_every",
        "samples_per_emotion",
        "trackers",
    },
    "data": {"cache"},
    "loss": {"decode_chunk"},
}
_MOST_NAMED = 6


@dataclass(frozen=True)
class Changes:
    """What differs from a checkpoint, each as `section.field: now, was before`.

    Attributes:
        learning: bears on what is learnt.
        harmless: does not.
    """

    learning: tuple[str, ...] = ()
    harmless: tuple[str, ...] = ()


def choose_checkpoint(
    runs: Path, resume: str | None, run: str | None, checked: bool = False
) -> tuple[Path | None, list[str]]:
    """The checkpoint to go on from, its checksums compared, and complaints about newer ones.

    Args:
        runs: the workspace's runs folder.
        resume: None: none; "auto": the newest of `run`, or of the run that was saved last; else
            the path of a run or checkpoint, or a run's name.
        run: name of a run folder.
        checked: checksums were compared already.

    Raises:
        UserError: there is no checkpoint at the place given.
        RunError: the checkpoint given is torn, or every one of the run is.
    """
    if resume is None:
        return None, []
    if resume == "auto":
        newest = (list_checkpoints(runs / run) or [None])[-1] if run else find_newest(runs)
        if newest is None:
            return None, []
    else:
        newest = resolve_checkpoint(resume, runs)
        if newest in (Path(resume), Path(runs) / resume):
            if not checked:
                _require_sound(newest)
            return newest, []
    sound, complaints = newest_sound(newest.parent)
    if sound is None:
        raise RunError(
            newest.parent,
            f"none of its checkpoints is as it was written ({complaints[0]})",
            "start a new run without --resume",
        )
    return sound, [f"{complaint}; going on from {sound.name}" for complaint in complaints]


def changes_since(
    checkpoint: Path, config: Config, corpus_sha256: str, told: Collection[str] = ()
) -> Changes:
    """Where sfe.yaml and the corpus now differ from what a checkpoint was trained with.

    `told` names fields of `train` that were asked for together with resuming, such as more steps.
    """
    before = _config_of(checkpoint)
    now = config.model_dump(mode="json")
    learning, harmless = [], []
    for section in _SECTIONS:
        for name, value in now[section].items():
            if name in before.get(section, {}) and before[section][name] != value:
                changed = f"{section}.{name}: {value}, was {before[section][name]}"
                quiet = name in _HARMLESS.get(section, ()) or (section == "train" and name in told)
                (harmless if quiet else learning).append(changed)
    if read_meta(checkpoint).corpus_sha256 != corpus_sha256:
        learning.append("the corpus: other images, maps, captions, labels or splits")
    return Changes(tuple(learning), tuple(harmless))


def require_unchanged(checkpoint: Path, changes: Changes) -> None:
    """Stop before a run silently turns into another one.

    Raises:
        UserError: something that bears on learning has changed.
    """
    if changes.learning:
        rest = len(changes.learning) - _MOST_NAMED
        more = [f"and {rest} more"] if rest > 0 else []
        raise UserError(
            f"--resume {checkpoint.parent.name}",
            f"changed since {checkpoint.name}: "
            + "; ".join([*changes.learning[:_MOST_NAMED], *more]),
            "restore that, or add --accept-changes, or start a new run without --resume",
        )


def _require_sound(checkpoint: Path) -> None:
    problem = verify_checkpoint(checkpoint)
    if problem is None:
        return
    sound, _ = newest_sound(checkpoint.parent)
    other = f"--resume {sound}" if sound else "start a new run without --resume"
    raise RunError(checkpoint, problem, other)


def _config_of(checkpoint: Path) -> dict:
    for path in (checkpoint / CONFIG, checkpoint.parent / CONFIG):
        if path.is_file():
            return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    return {}
