"""Checkpoints: `checkpoint-<step>/` folders, written whole or not at all."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sfe_core.errors import RunError, UserError

META = "meta.json"
_NAME = re.compile(r"checkpoint-(\d+)")


@dataclass(frozen=True)
class CheckpointMeta:
    """`meta.json`: what a checkpoint is of, and what resuming needs beside the tensors.

    Attributes:
        step: updates done.
        images_seen: images drawn so far.
        saved_at: UTC, ISO 8601.
        base: the base model as named in sfe.yaml.
        base_sha256: hash over its UNet, VAE and text encoder files.
        corpus_sha256: hash of the corpus trained on.
        has_ema: whether the averaged weights are there.
        window: state of the running means of metrics.jsonl.
    """

    step: int
    images_seen: int
    saved_at: str
    base: str
    base_sha256: str
    corpus_sha256: str
    has_ema: bool
    window: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As a plain dict."""
        return asdict(self)


def read_meta(checkpoint: Path) -> CheckpointMeta:
    """Read a checkpoint's meta.json.

    Raises:
        RunError: it is missing or of another layout.
    """
    path = Path(checkpoint) / META
    try:
        return CheckpointMeta(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError) as error:
        raise RunError(
            path, f"cannot be read ({error})", "choose another checkpoint of the run"
        ) from error


def list_checkpoints(run: Path) -> list[Path]:
    """The whole checkpoints of a run, oldest (fewest updates) first."""
    found = []
    if Path(run).is_dir():
        for folder in Path(run).iterdir():
            match = _NAME.fullmatch(folder.name)
            if match and (folder / META).is_file():
                found.append((int(match[1]), folder))
    return [folder for _, folder in sorted(found)]


def newest_checkpoint(runs: Path) -> Path:
    """The newest checkpoint of the run that was saved last.

    Raises:
        UserError: no run holds a checkpoint.
    """
    newest = find_newest(runs)
    if newest is None:
        raise UserError(runs, "no checkpoint yet", "run `sfe train` in the workspace first")
    return newest


def find_newest(runs: Path) -> Path | None:
    """As `newest_checkpoint`, None where there is none."""
    last = []
    if Path(runs).is_dir():
        for run in Path(runs).iterdir():
            checkpoints = list_checkpoints(run)
            if checkpoints:
                last.append((read_meta(checkpoints[-1]).saved_at, run.name, checkpoints[-1]))
    return max(last)[2] if last else None


def resolve_checkpoint(where: str, runs: Path) -> Path:
    """A checkpoint from what a person gave: the path of one, or of a run, or a run's name.

    Raises:
        UserError: there is none at that place.
    """
    for place in (Path(where), Path(runs) / where):
        if (place / META).is_file() and _NAME.fullmatch(place.name):
            return place
        inside = list_checkpoints(place)
        if inside:
            return inside[-1]
    known = sorted(run.name for run in Path(runs).iterdir()) if Path(runs).is_dir() else []
    raise UserError(
        f"--resume {where}",
        "no checkpoint there",
        f"give auto, a checkpoint folder, or one of the runs: {', '.join(known) or 'none yet'}",
    )


def prune(run: Path, keep: int) -> None:
    """Delete all but the `keep` newest checkpoints of a run."""
    for folder in list_checkpoints(run)[:-keep]:
        # Without meta.json a half-deleted folder is no checkpoint.
        (folder / META).unlink()
        shutil.rmtree(folder, ignore_errors=True)
