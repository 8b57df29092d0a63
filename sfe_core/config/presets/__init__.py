"""Presets: the YAML files of this folder, each over the one it `extends`."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from sfe_core.config.layers import Layer, read_layer
from sfe_core.errors import UserError

FOLDER = Path(__file__).parent


def preset_names() -> list[str]:
    """The names of the shipped presets, sorted."""
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


def preset_layers(name: Any, where: str) -> list[Layer]:
    """The layers of a preset, weakest first.

    Args:
        name: as given by the user.
        where: what named it, for the error.

    Raises:
        UserError: there is no such preset.
    """
    names = preset_names()
    if name not in names:
        close = difflib.get_close_matches(str(name), names, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise UserError(
            f"{where}: preset", f"{name!r} is not known", f"{hint}choose from {', '.join(names)}"
        )
    source = f"preset {name}"
    values = dict(read_layer(FOLDER / f"{name}.yaml", source).values)
    below = values.pop("extends", None)
    layers = preset_layers(below, source) if below else []
    return [*layers, Layer(source, values)]
