"""One checked configuration from defaults, preset, sfe.yaml and --set; each value's origin."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sfe_core.config.corpus_sections import PreprocessConfig
from sfe_core.config.layers import Layer, flatten, merge, nest, read_layer
from sfe_core.config.model import Config
from sfe_core.config.presets import preset_layers
from sfe_core.config.problems import check_keys, explain
from sfe_core.config.sampling_presets import spread_sampling_preset
from sfe_core.config.sections import Meaning, Section, fields_that
from sfe_core.config.workspace import Workspace
from sfe_core.config.yaml_reading import parse_yaml
from sfe_core.errors import UserError

CONFIG_NAME = "sfe.yaml"


@dataclass(frozen=True)
class LoadedWorkspace:
    """A workspace and the origin of each of its values.

    Attributes:
        workspace: the folder with its effective configuration.
        origins: dotted key to `default`, `preset NAME`, `sfe.yaml` or `--set`.
    """

    workspace: Workspace
    origins: dict[str, str]


def load_workspace(root: Path, overrides: Sequence[str] = ()) -> Workspace:
    """Read the workspace at `root`: defaults < preset < sfe.yaml < `overrides`.

    Args:
        root: folder with a sfe.yaml.
        overrides: `section.key=value` strings, values in YAML; the last one wins.

    Raises:
        UserError: no sfe.yaml, bad YAML, an unknown key (names the one meant), a bad value.
    """
    return load_with_origins(root, overrides).workspace


def load_with_origins(root: Path, overrides: Sequence[str] = ()) -> LoadedWorkspace:
    """As `load_workspace`, and say where each value came from."""
    root = Path(root).expanduser().resolve()
    layers = [_file_layer(root), override_layer(overrides)]
    config, origins = resolve(layers)
    return LoadedWorkspace(Workspace(root, _paths_from(config, root)), origins)


def preset_config(name: str, settings: Mapping[str, Any] | None = None) -> Config:
    """The effective configuration of a shipped preset, with the dotted keys of `settings` set."""
    values: dict[str, Any] = {"preset": name}
    for key, value in (settings or {}).items():
        values = merge(values, nest(key, value))
    return resolve([Layer(CONFIG_NAME, values)])[0]


def preprocess_alone(overrides: Sequence[str] = ()) -> PreprocessConfig:
    """Section preprocess without a workspace: its own defaults < `overrides`; paths from here.

    Raises:
        UserError: as `load_workspace`.
    """
    defaults = Layer("default", {"preprocess": PreprocessConfig().model_dump(mode="json")})
    config, _ = resolve([defaults, override_layer(overrides)])
    return _paths_from(config, Path.cwd()).preprocess


def resolve(layers: list[Layer]) -> tuple[Config, dict[str, str]]:
    """Put `layers` (weakest first) over their preset and the defaults.

    Returns:
        The checked configuration, and the origin of each dotted key.
    """
    for layer in layers:
        check_keys(layer)
    preset, source = Config().preset, "default"
    for layer in layers:
        if "preset" in layer.values:
            preset, source = layer.values["preset"], layer.source
    stack = [Layer("default", Config().model_dump(mode="json"))]
    stack += [*preset_layers(preset, source), *layers]
    stack = [spread for layer in stack for spread in spread_sampling_preset(layer)]
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer in stack:
        check_keys(layer)
        merged = merge(merged, layer.values)
        origins.update(dict.fromkeys(flatten(layer.values), layer.source))
    try:
        config = Config.model_validate(merged)
    except ValidationError as error:
        raise explain(error, origins) from error
    known = flatten(config.model_dump(mode="json"))
    return config, {key: origins.get(key, "default") for key in known}


def override_layer(overrides: Sequence[str]) -> Layer:
    """Read `section.key=value` strings into the strongest layer.

    Raises:
        UserError: one has no `=` or no key, or its value is not YAML.
    """
    values: dict[str, Any] = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        key = key.strip()
        if not equals or not key or not all(key.split(".")):
            raise UserError(
                f"--set {override}", "not of the form section.key=value", "e.g. train.steps=50"
            )
        values = merge(values, nest(key, parse_yaml(text, f"--set {key}")))
    return Layer("--set", values)


def _file_layer(root: Path) -> Layer:
    file = root / CONFIG_NAME
    if not root.is_dir():
        raise UserError(root, "is not a folder", "give a workspace with --workspace DIR")
    if not file.is_file():
        raise UserError(
            file, "does not exist", "run `sfe init --preset tiny` there, or give --workspace DIR"
        )
    return read_layer(file, CONFIG_NAME)


def _paths_from(config: Config, root: Path) -> Config:
    """Make the paths of models absolute."""
    changed = {}
    for name, section in config:
        if isinstance(section, Section):
            models = fields_that(type(section), Meaning.MODEL)
            paths = {key: from_workspace(getattr(section, key), root) for key in models}
            changed[name] = section.model_copy(update=paths)
    return config.model_copy(update=changed)


def from_workspace(value: Any, root: Path) -> Any:
    """A model's path as it is meant: from the workspace at `root`; of several, each.

    What has no slash is an asset's name, and stays. Links keep their names: files of a hub's cache
    are links to files that have no suffix. The keys of a mapping are files, with a slash or not.
    """
    if isinstance(value, dict):
        return {
            os.path.abspath(root / Path(key).expanduser()): inner for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return type(value)(from_workspace(inner, root) for inner in value)
    if not isinstance(value, str) or not ("/" in value or "\\" in value):
        return value
    return os.path.abspath(root / Path(value).expanduser())
