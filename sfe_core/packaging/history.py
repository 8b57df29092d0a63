"""What a run left on disk about itself, read leniently: a package needs its weights alone."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from sfe_core.packaging.selection import Checkpoint


@dataclass(frozen=True)
class RunHistory:
    """Args:
    config_text: config.yaml of the run, "" when there is none.
    config: the same, parsed; {} when there is none.
    meta: the checkpoint's meta.json.
    metrics: the last line of metrics.jsonl up to the checkpoint's step, {} when there is none.
    """

    config_text: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)

    def base(self, otherwise: str) -> str:
        """The base model the run was trained from, or `otherwise` when the run does not say."""
        return str(self.config.get("model", {}).get("base", otherwise))

    def resolution(self, otherwise: int) -> int:
        """The side of its training pictures, pixels."""
        return int(self.config.get("model", {}).get("resolution", otherwise))


def read_history(checkpoint: Checkpoint) -> RunHistory:
    """Read what is there of config.yaml, metrics.jsonl and meta.json."""
    run = checkpoint.folder.parent
    text = _text(run / "config.yaml")
    try:
        config = yaml.safe_load(text) or {}
    except yaml.YAMLError:
        config = {}
    meta = _json(_text(checkpoint.folder / "meta.json"))
    return RunHistory(
        config_text=text,
        config=config if isinstance(config, dict) else {},
        meta=meta,
        metrics=_last_metrics(_text(run / "metrics.jsonl"), checkpoint.step),
    )


def _last_metrics(text: str, step: int) -> dict[str, Any]:
    last: dict[str, Any] = {}
    for line in text.splitlines():
        entry = _json(line)  # a run that was killed may have left half a line
        if entry and entry.get("step", 0) <= step:
            last = entry
    return {name: value for name, value in last.items() if isinstance(value, (int, float, str))}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _json(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
