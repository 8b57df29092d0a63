"""A fresh workspace: a sfe.yaml that explains itself, and a folder for photos."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml

from sfe_core.config.loading import CONFIG_NAME, preset_config
from sfe_core.config.model import Config
from sfe_core.config.problems import sections
from sfe_core.errors import UserError
from sfe_core.files import write_text

HEADER = """\
## What this workspace does. The preset fills every key; to change one, uncomment its line.
## Values shown are the preset's own. `sfe config show` prints what is in force and why.
"""


def init_workspace(
    root: Path,
    preset: str = "tiny",
    force: bool = False,
    settings: Mapping[str, Any] | None = None,
) -> Path:
    """Write `root`/sfe.yaml with every key commented out, and make the photos folder.

    Args:
        root: the workspace; made if it does not exist.
        preset: name of a shipped preset.
        force: replace a sfe.yaml.
        settings: dotted keys to write as active lines, with their values.

    Returns:
        The sfe.yaml.

    Raises:
        UserError: unknown preset, or a sfe.yaml is there already and `force` is not set.
    """
    config = preset_config(preset, settings)
    root = Path(root).expanduser()
    file = root / CONFIG_NAME
    if file.exists() and not force:
        raise UserError(file, "exists already", "keep it, or replace it with --force")
    write_text(file, commented_yaml(config, settings or ()))
    (root / config.photos.folder).mkdir(parents=True, exist_ok=True)
    return file


def commented_yaml(config: Config, active: Collection[str] = ()) -> str:
    """A sfe.yaml whose active lines are the preset, the section names and the `active` keys.

    Uncommenting every line that starts with a single `#` gives `config` again.
    """
    parts, known = [HEADER], sections()
    for name, field in Config.model_fields.items():
        if name not in known:
            mark = "" if name == "preset" or name in active else "# "
            value = inline_yaml(getattr(config, name))
            parts.append(f"{mark}{name}: {value}  # {field.description}\n")
    values = config.model_dump(mode="json")
    for name, model in known.items():
        heading = " ".join((model.__doc__ or "").split())
        lines = [f"\n## {heading}", f"{name}:"]
        for key, field in model.model_fields.items():
            allowed = _choices(field.annotation)
            meaning = f"{field.description}{allowed}"
            mark = "" if f"{name}.{key}" in active else "# "
            lines.append(f"  {mark}{key}: {inline_yaml(values[name][key])}  # {meaning}")
        parts.append("\n".join(lines) + "\n")
    return "".join(parts)


def inline_yaml(value: Any) -> str:
    """`value` as YAML on one line."""
    text = yaml.safe_dump(
        value, default_flow_style=True, width=math.inf, sort_keys=False, allow_unicode=True
    )
    return text.removesuffix("\n").removesuffix("\n...")


def _choices(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return f" ({' | '.join(map(str, get_args(annotation)))})"
    return ""
