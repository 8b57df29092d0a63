"""What is wrong with a configuration, in one line that names the field, the value and the fix."""

from __future__ import annotations

import difflib
from typing import Any

from pydantic import ValidationError

from sfe_core.config.layers import Layer
from sfe_core.config.model import Config
from sfe_core.config.sections import Section
from sfe_core.errors import UserError

CLOSE_ENOUGH = 0.6


def sections() -> dict[str, type[Section]]:
    """Section name to its model, in the order of sfe.yaml."""
    return {
        name: field.annotation
        for name, field in Config.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    }


def known_keys() -> list[str]:
    """Every key of sfe.yaml, dotted, in its order."""
    keys = [name for name in Config.model_fields if name not in sections()]
    for name, model in sections().items():
        keys += [f"{name}.{key}" for key in model.model_fields]
    return keys


def check_keys(layer: Layer) -> None:
    """Raise a UserError for the first key of `layer` that sfe.yaml does not have."""
    for name, value in layer.values.items():
        if name not in Config.model_fields:
            raise _unknown(layer.source, _first_leaf(str(name), value), str(name))
        model = sections().get(name)
        if model is None or value is None:
            continue
        if not isinstance(value, dict):
            raise UserError(
                f"{layer.source}: {name}",
                f"{value!r} where a section belongs",
                f"its keys are {', '.join(model.model_fields)}",
            )
        for key, inner in value.items():
            if key not in model.model_fields:
                raise _unknown(layer.source, f"{name}.{key}", name)
            # pydantic would take true for 1 and false for 0.
            if isinstance(inner, bool) and model.model_fields[key].annotation is not bool:
                raise UserError(
                    f"{layer.source}: {name}.{key}", f"found {inner}", "this is not a yes-or-no key"
                )


def check_sections(names: list[str]) -> None:
    """Raise a UserError for the first of `names` that is not a section or top key of sfe.yaml."""
    for name in names:
        if name not in Config.model_fields:
            close = difflib.get_close_matches(name, Config.model_fields, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            known = ", ".join(Config.model_fields)
            raise UserError(
                f"section {name}", "there is no such section", f"{hint}there are {known}"
            )


def explain(error: ValidationError, origins: dict[str, str]) -> UserError:
    """The first problem of a pydantic error as a UserError.

    Args:
        error: from validating a `Config`.
        origins: dotted key to the source that set it.
    """
    problem = error.errors()[0]
    path = [str(part) for part in problem["loc"]]
    dotted = ".".join(path[:2])
    if not dotted:
        return UserError("sfe.yaml", str(problem["ctx"]["error"]), "change one of the two")
    found = problem["input"]
    allowed = problem["msg"].replace("Input should be", "allowed is")
    allowed = allowed.replace(", unable to parse string as an integer", "")
    allowed = allowed.replace(", unable to parse string as a number", "")
    entry = f" (entry {path[2]})" if len(path) > 2 and path[-1] != "[key]" else ""
    source = origins.get(".".join(path[:3])) or origins.get(dotted, "sfe.yaml")
    return UserError(f"{source}: {dotted}", f"found {found!r}{entry}", allowed)


def suggest(dotted: str) -> list[str]:
    """The known keys that `dotted` may have been meant for, best first, at most three."""
    section, _, key = dotted.rpartition(".")
    known = known_keys()

    def score(candidate: str) -> float:
        candidate_section, _, candidate_key = candidate.rpartition(".")
        alike = difflib.SequenceMatcher(None, key, candidate_key).ratio()
        # A key mistyped in its section is likelier than a similar word of another section, but
        # the very same word in another section is likelier still.
        closeness = difflib.SequenceMatcher(None, section, candidate_section).ratio()
        exact = 0.5 if key == candidate_key else 0.0
        return alike if alike < CLOSE_ENOUGH else alike + exact + 0.5 * closeness

    ranked = sorted(known, key=score, reverse=True)
    good = [candidate for candidate in ranked if score(candidate) >= CLOSE_ENOUGH]
    return [candidate for candidate in good if score(candidate) > score(good[0]) - 0.15][:3]


def _unknown(source: str, dotted: str, section: str) -> UserError:
    where, problem = f"{source}: {dotted}", "there is no such key"
    meant = suggest(dotted)
    if meant:
        return UserError(where, problem, f"did you mean {' or '.join(meant)}?")
    model = sections().get(section)
    allowed = list((model or Config).model_fields)
    place = section if model else "the top level"
    return UserError(where, problem, f"{place} has {', '.join(allowed)}")


def _first_leaf(dotted: str, value: Any) -> str:
    if isinstance(value, dict) and value:
        key = next(iter(value))
        return f"{dotted}.{key}"
    return dotted
