"""Settings as they may leave this machine: folders by their names, not by where they lie."""

from __future__ import annotations

from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any

import yaml


def without_places(value: Any) -> Any:
    """Settings with every absolute path, or one below `~`, cut to its last part.

    A path says who trained, and for whom: `/home/ann/clinic-7/models/rv6` becomes `rv6`.

    Args:
        value: of YAML or JSON, of any depth; it stays as it is.
    """
    if isinstance(value, dict):
        # A LoRA's file is the key of its weight.
        return {without_places(name): without_places(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [without_places(inner) for inner in value]
    return _name(value) if isinstance(value, str) else value


def portable_yaml(text: str) -> str:
    """The same of YAML text, which stays as it is, byte for byte, where it names no place.

    What is not YAML is left out: nobody could say what it tells.
    """
    try:
        settings = yaml.safe_load(text)
    except yaml.YAMLError:
        return ""
    changed = without_places(settings)
    if changed == settings:
        return text
    return yaml.safe_dump(changed, sort_keys=False, allow_unicode=True)


def path_from(root: Path, value: str) -> str:
    """A path below `root` as it is written there, with `/`; anything else as it is.

    >>> path_from(Path("/work"), "/work/models/emoca")
    'models/emoca'
    >>> path_from(Path("/work"), "emoca-v2")
    'emoca-v2'
    """
    path = Path(value)
    below = path.is_absolute() and path.is_relative_to(root)
    return path.relative_to(root).as_posix() if below else value


def is_place(value: str) -> bool:
    """Whether a text is an absolute path, or one below a home folder, of any system."""
    kinds: tuple[type[PurePath], ...] = (PurePosixPath, PureWindowsPath)
    return value.startswith("~") or any(kind(value).is_absolute() for kind in kinds)


def _name(value: str) -> str:
    if not is_place(value):
        return value
    windows = PureWindowsPath(value)
    path = windows if windows.drive else PurePosixPath(value)
    return path.name
