"""Curves and pictures of a run, in TensorBoard, Weights & Biases or Trackio, through accelerate."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import yaml
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker

from sfe_core.errors import RunError, UserError
from sfe_core.files import write_text

TENSORBOARD, WANDB = "tensorboard", "wandb"
PROJECT = "sfe"
_WANDB_ID = "wandb-id"


def require_trackers(names: Sequence[str]) -> None:
    """Check that trackers can start, as far as that is known without loading them.

    Raises:
        UserError: a package is not installed, or nobody is logged in to its service.
    """
    for name in names:
        if find_spec(name) is None:
            raise UserError(
                "train.trackers",
                f"{name} is not installed",
                f"pip install {name}, or leave it out (metrics.jsonl has every number)",
            )

    if WANDB in names and not _is_logged_in(os.environ):
        raise UserError(
            f"train.trackers: {WANDB}",
            "nobody is logged in",
            "run `wandb login`, or set WANDB_API_KEY, or WANDB_MODE=offline, or leave it out",
        )


def _is_logged_in(environment: Mapping[str, str]) -> bool:
    """Whether Weights & Biases will find a key, or needs none; told as true where unsure."""
    if environment.get("WANDB_MODE", "online") not in ("online", "shared", "run"):
        return True
    if any(environment.get(name) for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE")):
        return True
    home = Path.home()
    # Settings may name a server of one's own.
    if any(Path(place, "settings").is_file() for place in (home / ".config/wandb", "wandb")):
        return True
    names = [environment.get("NETRC", ""), str(home / ".netrc"), str(home / "_netrc")]
    found = next((name for name in names if name and Path(name).is_file()), None)
    if found is None:
        return False
    try:
        hosts = netrc(found).hosts
    except (OSError, NetrcParseError):
        return False
    server = urlsplit(environment.get("WANDB_BASE_URL") or "https://api.wandb.ai").netloc
    return server in hosts or "default" in hosts


class Trackers:
    """All trackers of a run; the main process alone owns them.

    Args:
        names: of `train.trackers`.
        run: the run's folder.
        config: the run's configuration, as JSON-able values.
        resumed_at: updates done in the checkpoint gone on from; 0 for a new run.

    Raises:
        RunError: a tracker does not start (no account, no network).
    """

    def __init__(
        self, names: Sequence[str], run: Path, config: dict[str, Any], resumed_at: int = 0
    ) -> None:
        self._trackers: list[GeneralTracker] = []
        for name in names:
            try:
                self._trackers.append(_start(name, run, config, resumed_at))
            except Exception as error:  # each service has errors of its own
                self.close()
                raise RunError(
                    f"train.trackers: {name}", f"does not start ({error})", "set it up or name none"
                ) from error

    def numbers(self, values: dict[str, float], step: int) -> None:
        """Add a point to each curve."""
        for tracker in self._trackers:
            tracker.log(values, step=step)

    def picture(self, name: str, image: np.ndarray, step: int) -> None:
        """Add a picture, uint8 [H, W, 3]."""
        for tracker in self._trackers:
            if tracker.name == TENSORBOARD:
                tracker.log_images({name: image[None]}, step=step, dataformats="NHWC")
                tracker.tracker.flush()
            elif hasattr(tracker, "log_images"):
                tracker.log_images({name: [image]}, step=step)
            else:
                import trackio  # accelerate's tracker has no pictures of its own

                tracker.log({name: trackio.Image(image)}, step=step)

    def close(self) -> None:
        """Send what is left."""
        for tracker in self._trackers:
            tracker.finish()
        self._trackers = []


def _start(name: str, run: Path, config: dict[str, Any], resumed_at: int) -> GeneralTracker:
    kind = LOGGER_TYPE_TO_CLASS[name]
    if name == TENSORBOARD:
        tracker = kind(TENSORBOARD, run, purge_step=resumed_at + 1)
        tracker.start()
        if not resumed_at:
            tracker.log({"config": f"```\n{yaml.safe_dump(config, sort_keys=False)}```"}, step=0)
        return tracker
    options: dict[str, Any] = {"name": run.name, "resume": "allow"}
    if name == WANDB:
        options |= {"id": _wandb_id(run), "dir": str(run)}
    tracker = kind(PROJECT, **options)
    tracker.start()
    tracker.store_init_configuration(config)
    return tracker


def _wandb_id(run: Path) -> str:
    """The id of this very run, made once: names of runs repeat between workspaces."""
    path = run / _WANDB_ID
    if not path.is_file():
        write_text(path, uuid.uuid4().hex)
    return path.read_text(encoding="utf-8").strip()
