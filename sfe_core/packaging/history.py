"""What a run left on disk about itself; all but its weights and meta.json may be lost."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from sfe_core.config.portable import portable_yaml
from sfe_core.packaging.selection import Checkpoint
from sfe_core.training.engine.checkpoints import CheckpointMeta, read_meta
from sfe_core.training.engine.runlog import read_metrics


@dataclass(frozen=True)
class RunHistory:
    """What is known of a run.

    Args:
        meta: the checkpoint's meta.json.
        config_text: config.yaml of the run, folders by their names alone; "" when there is none.
        config: the same, parsed, with the folders' places; {} when there is none.
        metrics: the last line of metrics.jsonl up to the checkpoint's step, groups written as
            `group/name`; {} when there is none.
    """

    meta: CheckpointMeta
    config_text: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)

    def resolution(self, otherwise: int) -> int:
        """The side of its training pictures, pixels; `otherwise` when the run does not say."""
        return int(self.config.get("model", {}).get("resolution", otherwise))


def read_history(checkpoint: Checkpoint) -> RunHistory:
    """Read meta.json, and what is there of config.yaml and metrics.jsonl.

    Raises:
        RunError: meta.json is torn.
    """
    run = checkpoint.folder.parent
    text = _text(run / "config.yaml")
    try:
        config = yaml.safe_load(text)
    except yaml.YAMLError:
        config = {}
    lines = [line for line in read_metrics(run) if line.get("step", 0) <= checkpoint.step]
    return RunHistory(
        meta=read_meta(checkpoint.folder),
        config_text=portable_yaml(text),
        config=config if isinstance(config, dict) else {},
        metrics=_flat(lines[-1]) if lines else {},
    )


def _flat(line: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in line.items():
        group = value if isinstance(value, dict) else {"": value}
        for inner, number in group.items():
            if number is not None:
                flat[f"{name}/{inner}" if inner else name] = number
    return flat


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
