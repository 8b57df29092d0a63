"""What the configurations in the folder of a diffusers pipeline say; no weights are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sfe_core.diffusion.families.contract import BaseConfigs
from sfe_core.diffusion.handed_over import BASE_REMEDY, INDEX, require_pipeline
from sfe_core.errors import UserError


def read_folder(base: Path, where: str = "model.base") -> BaseConfigs:
    """The configurations of every part.

    Raises:
        UserError: it is not a pipeline, or a part's configuration is unreadable.
    """
    require_pipeline(base, where, BASE_REMEDY)
    index = _read_json(base / INDEX, where)
    parts = {}
    for name, value in index.items():
        if isinstance(value, list) and value[0] is not None:
            path = base / name / ("scheduler_config.json" if name == "scheduler" else "config.json")
            # Tokenizers and image processors have none; a missing one is named where it is loaded.
            if path.is_file():
                parts[name] = _read_json(path, where)
    return BaseConfigs(base, index, parts)


def _read_json(path: Path, where: str) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{where}: {path}", f"cannot be read ({error})", BASE_REMEDY) from error
    if not isinstance(values, dict):
        raise UserError(f"{where}: {path}", "is not a configuration", BASE_REMEDY)
    return values
