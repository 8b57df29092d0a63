"""Layers of configuration: nested mappings with the name of where they came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfe_core.config.yaml_reading import parse_yaml
from sfe_core.errors import UserError


@dataclass(frozen=True)
class Layer:
    """Some values of the configuration and their `source`, e.g. `sfe.yaml` or `preset tiny`."""

    source: str
    values: dict[str, Any]


def read_layer(file: Path, source: str) -> Layer:
    """Read a YAML file whose top is a mapping; an empty file is an empty layer.

    Raises:
        UserError: not UTF-8, not YAML, or its top is something else.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(file, f"cannot be read ({error})", "save it as UTF-8 text") from error
    values = parse_yaml(text, source)
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise UserError(source, f"holds {values!r}", "write `section:` with `key: value` below it")
    return Layer(source, values)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `over`, mappings merged key by key, everything else replaced.

    >>> merge({"train": {"steps": 50, "seed": 0}}, {"train": {"steps": 60}})
    {'train': {'steps': 60, 'seed': 0}}
    """
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            merged[key] = merge(below, value)
        elif value is None and isinstance(below, Mapping):
            continue  # a section whose every key is commented out
        else:
            merged[key] = value
    return merged


def nest(dotted: str, value: Any) -> dict[str, Any]:
    """A dotted key and its value as mappings.

    >>> nest("train.steps", 50)
    {'train': {'steps': 50}}
    """
    for part in reversed(dotted.split(".")):
        value = {part: value}
    return value


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted key to value, mappings opened up.

    >>> flatten({"train": {"steps": 50}, "preset": "tiny"})
    {'train.steps': 50, 'preset': 'tiny'}
    """
    flat: dict[str, Any] = {}
    for key, value in values.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{dotted}.")
        else:
            flat[dotted] = value
    return flat
