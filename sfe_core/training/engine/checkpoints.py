"""Checkpoints: `checkpoint-<step>/` folders, written whole or not at all."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sfe_core.errors import RunError, UserError
from sfe_core.files import TEMPORARY_MARK, remove
from sfe_core.training.engine.checksums import compare_checksums

META = "meta.json"
# Whether more is better of the numbers in checkpoints that do not say so themselves.
_BEFORE = {"top1": True, "guidance_error": False, "loss": False}
_NAME = re.compile(r"checkpoint-(\d+)")


@dataclass(frozen=True)
class CheckpointMeta:
    """`meta.json`: what a checkpoint is of, and what resuming needs beside the tensors.

    Attributes:
        step: updates done.
        images_seen: images drawn so far.
        saved_at: UTC, ISO 8601.
        base: the base model as named in sfe.yaml.
        base_sha256: hash over its parts, see `diffusion.hashing`.
        corpus_sha256: hash of the corpus trained on.
        has_ema: whether the averaged weights are there.
        window: state of the running means of metrics.jsonl.
        skipped: updates skipped so far because loss or gradient was NaN or infinite.
        metrics: what was measured at this step.
        higher_is_better: of each number by which a checkpoint can be the best.
        must_match: field of sfe.yaml to the hash of the model that it named.
    """

    step: int
    images_seen: int
    saved_at: str
    base: str
    base_sha256: str
    corpus_sha256: str
    has_ema: bool
    window: dict[str, Any] = field(default_factory=dict)
    skipped: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    must_match: dict[str, str] = field(default_factory=dict)
    higher_is_better: dict[str, bool] = field(default_factory=dict)

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
            saved = [meta.saved_at for meta in map(_meta_if_whole, checkpoints) if meta]
            if checkpoints:
                # A run whose every meta.json is torn comes last, yet is not passed over in silence.
                last.append((max(saved, default=""), run.name, checkpoints[-1]))
    return max(last)[2] if last else None


def verify_checkpoint(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint, in words that name the file; None if it is as written."""
    problem = compare_checksums(checkpoint)
    if problem is None and _meta_if_whole(checkpoint) is None:
        problem = f"{META} is of another layout"
    return problem


def newest_sound(run: Path) -> tuple[Path | None, list[str]]:
    """The newest checkpoint of a run that is as written, and a line about each newer one."""
    complaints: list[str] = []
    for folder in reversed(list_checkpoints(run)):
        problem = verify_checkpoint(folder)
        if problem is None:
            return folder, complaints
        complaints.append(f"{folder}: {problem}")
    return None, complaints


def best_checkpoint(run: Path, metric: str) -> Path | None:
    """The checkpoint of a run with the best value of a metric, the later of equals; or None.

    Args:
        run: the run's folder.
        metric: name of a number that checkpoints were measured by.
    """
    measured = []
    for folder in list_checkpoints(run):
        meta = _meta_if_whole(folder)
        if meta is not None and metric in meta.metrics:
            higher = (meta.higher_is_better or _BEFORE)[metric]
            value = meta.metrics[metric]
            measured.append((value if higher else -value, meta.step, folder))
    return max(measured)[2] if measured else None


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
    folders = sorted(Path(runs).iterdir()) if Path(runs).is_dir() else []
    known = [run.name for run in folders if list_checkpoints(run)]
    begun = Path(runs) / where
    if begun in folders:
        raise UserError(
            f"--resume {where}",
            "the run has saved no checkpoint yet",
            f"start it anew with `sfe train --run {where}`",
        )
    raise UserError(
        f"--resume {where}",
        "no checkpoint there",
        f"give auto, a checkpoint folder, or one of the runs: {', '.join(known) or 'none yet'}",
    )


def that_learnt(run: Path) -> list[Path]:
    """Those of `list_checkpoints` whose weights are no older checkpoint's.

    Where every update since the one before was skipped, a checkpoint holds the same weights.
    """
    found, most = [], 0
    for folder in list_checkpoints(run):
        meta = _meta_if_whole(folder)
        learnt = most + 1 if meta is None else meta.step - meta.skipped
        if learnt > most:
            found.append(folder)
            most = learnt
    return found


def going_on(run: Path, checkpoint: Path | None = None) -> str:
    """The command that goes on with a run, from its newest checkpoint or from another one."""
    root = run.parent.parent.resolve()
    if run.parent.name != "runs":  # of no workspace that is known here
        return f"sfe train --resume {shlex.quote(str(checkpoint or run))}"
    where = "" if root == Path.cwd() else f"--workspace {shlex.quote(str(root))} "
    return f"sfe train {where}--resume {shlex.quote(str(checkpoint or run.name))}"


def prune(run: Path, keep: int, metric: str | None = None) -> None:
    """Delete a run's checkpoints but the `keep` newest, as many that learnt, and the best.

    The last is by `metric`, if any.
    """
    every = list_checkpoints(run)
    kept = {*every[-keep:], *that_learnt(run)[-keep:]}
    best = best_checkpoint(run, metric) if metric else None
    if best is not None:
        kept.add(best)
    for folder in every:
        if folder not in kept:
            delete_checkpoint(folder)


def delete_checkpoint(folder: Path) -> None:
    """Delete a checkpoint; killed halfway, what is left of it passes for nothing."""
    retired = folder.with_name(f"{TEMPORARY_MARK}old-{folder.name}")
    folder.rename(retired)
    remove(retired)


def clear_remains(run: Path) -> None:
    """Delete what a killed process left half written or half deleted in a run's folder."""
    for path in Path(run).glob(f"{TEMPORARY_MARK}*"):
        remove(path)


def _meta_if_whole(checkpoint: Path) -> CheckpointMeta | None:
    try:
        return read_meta(checkpoint)
    except RunError:
        return None
