"""A workspace of the tiny preset for benchmarks: many held-out people, made once, gone on from."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from sfe_core import demo
from sfe_core.assets.reference import ModelReference
from sfe_core.config.init import init_workspace
from sfe_core.config.loading import load_workspace
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.preprocessing.preprocess import preprocess
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError
from sfe_core.files import write_json
from sfe_core.reporting import Reporter
from sfe_core.synthesis.photos import synthesize

_MADE = "road.json"
TRAINING_PEOPLE = 51
_SECONDS = "seconds.json"
_PHOTOS = {key: value for key, value in demo.PHOTOS.items() if key != "count"}


@dataclass(frozen=True)
class People:
    """Who is photographed.

    Attributes:
        held_out: people to measure on, each in eight emotions.
        training: people to learn from, likewise.
        identities: first and one past the last that they are drawn from. No shipped weight has
            seen any of 3584 to 4095.
    """

    held_out: int
    training: int
    identities: tuple[int, int]


def make_workspace(
    folder: Path,
    people: People,
    overrides: Sequence[str],
    reporter: Reporter,
    preset: str = "tiny",
    photos: Mapping[str, Any] | None = None,
) -> Workspace:
    """Photographs and corpus in `folder`, made where they are not there yet.

    Args:
        folder: new, empty, or of an earlier call.
        people: who is photographed.
        overrides: `section.key=value`, as of `--set`.
        reporter: told of progress.
        preset: of the settings.
        photos: how they are taken otherwise than the demo's: arguments of `synthesize`.

    Raises:
        UserError: the folder was made for other people or with another base model.
    """
    folder.mkdir(parents=True, exist_ok=True)
    held_out = people.held_out * len(EMOTIONS)
    if not (folder / "sfe.yaml").exists():
        sizes = {"split.validation_count": held_out, "split.validation_fraction": 0.95}
        sizes["train.keep_checkpoints"] = 1  # of dozens of runs
        init_workspace(folder, preset, settings=sizes)
    workspace = load_workspace(folder, overrides)
    models = {
        name: ModelReference(given).sha256
        for name, given in (
            ("base", workspace.config.model.base),
            ("judge", workspace.config.evaluate.judge),
        )
    }
    photos = {**_PHOTOS, **(photos or {})}
    made = json.loads(json.dumps({**asdict(people), "photos": photos, **models}))
    record = folder / _MADE
    if record.exists() and json.loads(record.read_text(encoding="utf-8")) != made:
        raise UserError(
            folder, "holds other people or was begun with another base", "give a new one"
        )
    write_json(record, made)
    if not (workspace.photos / "labels.csv").exists():
        count = held_out + people.training * len(EMOTIONS)
        with spent(folder, "synthesize"):
            synthesize(
                folder,
                count=count,
                **photos,
                identity_range=people.identities,
                workers=os.cpu_count() or 1,
                reporter=reporter,
            )
    with spent(folder, "preprocess"):
        preprocess(workspace, reporter)
    return workspace


@contextmanager
def spent(folder: Path, what: str) -> Iterator[None]:
    """Add the seconds of the block to those that the folder remembers."""
    began = time.monotonic()
    try:
        yield
    finally:
        seconds = seconds_of(folder)
        seconds[what] = round(seconds.get(what, 0.0) + time.monotonic() - began, 1)
        write_json(folder / _SECONDS, seconds)


def seconds_of(folder: Path) -> dict[str, float]:
    """What each step has taken so far, over all calls."""
    path = folder / _SECONDS
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def setting(workspace: Workspace) -> dict[str, Any]:
    """What a result was measured with."""
    on_gpu = torch.cuda.is_available()
    return {
        "device": torch.cuda.get_device_name() if on_gpu else f"{os.cpu_count()} CPU cores",
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "base_sha256": ModelReference(workspace.config.model.base).sha256,
        "judge_sha256": ModelReference(workspace.config.evaluate.judge).sha256,
        "resolution_px": workspace.config.model.resolution,
        "updates": workspace.config.train.steps,
        "seconds": seconds_of(workspace.root),
    }


def time_told(seconds: Mapping[str, float]) -> str:
    """`2 h 05 min (train 1 h 50 min, …)`."""
    parts = ", ".join(f"{name} {_duration(value)}" for name, value in seconds.items())
    return f"{_duration(sum(seconds.values()))} ({parts})"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
