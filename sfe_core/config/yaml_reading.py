"""YAML as a person expects it: `no` is a word, 5e-6 is a number, a key stands once."""

from __future__ import annotations

import re
from typing import Any

import yaml

from sfe_core.errors import UserError


class _Loader(yaml.SafeLoader):
    """Safe loader with the booleans and floats of YAML 1.2, refusing repeated keys.

    PyYAML follows YAML 1.1, where `mixed_precision: no` is a boolean and `5e-6` a string.
    """


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag not in ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:float")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$"),
    list("-+.0123456789"),
)


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            raise yaml.MarkedYAMLError(
                problem=f"key {key!r} stands twice", problem_mark=key_node.start_mark
            )
        seen.add(key)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def parse_yaml(text: str, where: str) -> Any:
    """Parse YAML text.

    Raises:
        UserError: it is not YAML; `where` and the line are named.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        what = error.problem or error.context or "cannot be read"
        raise UserError(
            f"{where}{line}", f"not valid YAML ({what})", "correct that line"
        ) from error
    except (yaml.YAMLError, TypeError) as error:
        raise UserError(where, f"not valid YAML ({error})", "correct it") from error
