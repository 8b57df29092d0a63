"""Named ways of drawing: `sampling.preset` and the names that `sampling.negative_prompt` takes."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from sfe_core.config.layers import Layer, read_layer

_FILE = Path(__file__).with_name("sampling_presets.yaml")


@cache
def _shipped() -> dict[str, dict[str, Any]]:
    return read_layer(_FILE, _FILE.name).values


def sampling_presets() -> dict[str, dict[str, Any]]:
    """Name to the keys of section sampling that the preset fills in."""
    return _shipped()["presets"]


def negative_prompt_text(value: str) -> str:
    """What not to draw: the text behind a shipped name, else the value itself."""
    return _shipped()["negative_prompts"].get(value, value)


def is_named_negative_prompt(text: str) -> bool:
    """Whether a text is one that a shipped name stands for."""
    return text in _shipped()["negative_prompts"].values()


def spread_sampling_preset(layer: Layer) -> list[Layer]:
    """The layer, with the values of the sampling preset that it names right below it.

    So what a preset fills wins over weaker layers, and what the layer writes out wins over it. An
    unknown name is left to the checks of the section.
    """
    section = layer.values.get("sampling")
    name = section.get("preset") if isinstance(section, dict) else None
    values = sampling_presets().get(name) if isinstance(name, str) else None
    if values is None:
        return [layer]
    return [Layer(f"sampling preset {name}", {"sampling": values}), layer]
