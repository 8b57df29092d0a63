"""Along what edits are swept: turns, the jaw, strength, lights, seeds, and all of an expression."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product

from sfe_core.controls.asked_light import NAMED_LIGHTS
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError
from sfe_core.sampling.axes import Axis, check_axes, expression_along, read_axes
from sfe_core.sampling.editing.request import Edit

# Least and largest value; an edit's field of the same name takes it.
_RANGES = {
    "yaw": (-30.0, 30.0),
    "pitch": (-20.0, 20.0),
    "roll": (-20.0, 20.0),
    "jaw": (0.0, 1.0),
    "strength": (0.0, 1.0),
}
_LIGHT, _SEED = "light", "seed"
_LIGHTS = tuple(NAMED_LIGHTS)
_USUAL_COUNT = 5


@dataclass(frozen=True)
class EditAxis:
    """One direction of a sweep.

    Args:
        name: as asked for, in its usual spelling.
        values: in order; lights and emotions are numbered.
        face: the same as an axis of expressions, where it is one.
    """

    name: str
    values: tuple[float, ...]
    face: Axis | None = None

    def label(self, value: float) -> str:
        """What sets a picture apart."""
        if self.name == _LIGHT:
            return f"light {_LIGHTS[int(value)]}"
        if self.face is not None and self.face.kind == "emotion":
            return EMOTIONS[int(value)]
        if self.name == _SEED:
            return f"seed +{value:g}"
        if self.name in ("yaw", "pitch", "roll"):
            return f"{self.name} {value:+.3g}"
        return f"{self.name} {value:.2g}"


Point = Mapping[EditAxis, float]


def read_edit_axes(text: str | None, count: int | None) -> tuple[EditAxis, ...]:
    """The axes of `yaw`, `AU12` or `yawxhappy`; none without a sweep.

    Args:
        text: one or two of yaw, pitch, roll, jaw, strength, light, seed and what `read_axes` knows.
        count: of values along each; None: 5.

    Raises:
        UserError: an unknown axis, more than two, or one given twice.
    """
    if text is None:
        return ()
    parts = [part.strip() for part in re.split("[x×]", text)]  # no axis has an x in its name
    if len(parts) > 2:
        raise UserError("--sweep", f"{text!r} has {len(parts)} axes", "give one or two: yawxAU12")
    axes = tuple(_read(part, count) for part in parts)
    if len({axis.name for axis in axes}) < len(axes):
        raise UserError("--sweep", f"{text!r} moves one thing twice", "give two that differ")
    return axes


def _read(text: str, count: int | None) -> EditAxis:
    name = text.lower()
    if name == _LIGHT:
        return EditAxis(name, tuple(float(place) for place in range(len(_LIGHTS))))
    steps = count or _USUAL_COUNT
    if name == _SEED:
        return EditAxis(name, tuple(float(step) for step in range(steps)))
    if name in _RANGES:
        low, high = _RANGES[name]
        width = (high - low) / max(1, steps - 1)
        return EditAxis(name, tuple(low + width * step for step in range(steps)))
    try:
        (face,) = read_axes(text, steps if name != "emotion" else None)
    except UserError as error:
        if "is unknown" not in error.problem:
            raise
        own = ", ".join((*_RANGES, _LIGHT, _SEED))
        raise UserError(error.where, error.problem, f"use {own}, or {error.remedy[4:]}") from error
    return EditAxis(face.name, face.values, face)


def check_edit_axes(axes: tuple[EditAxis, ...], edit: Edit) -> None:
    """Refuse axes that do not go with what else was asked for, before any work.

    Raises:
        UserError: which, and what to leave out or add.
    """
    faces = tuple(axis.face for axis in axes if axis.face is not None)
    if faces:
        check_axes(faces, edit.asked)
    names = {axis.name for axis in axes}
    if names and names <= {"strength", _SEED} and not edit.says_anything:
        raise UserError(
            f"--sweep {next(iter(names))}", "moves nothing", "say what is to change beside it"
        )
    own = names & {*_RANGES, _LIGHT}
    taken = [name for name in own if getattr(edit, name) != getattr(Edit(), name)]
    if _LIGHT in names and edit.light_of is not None:
        taken.append(_LIGHT)
    if taken:
        raise UserError(f"--sweep {taken[0]}", "was asked for beside it", "leave that out")
    for point in points(axes):
        edit_at(edit, point)  # what no face can show


def points(axes: tuple[EditAxis, ...]) -> list[dict[EditAxis, float]]:
    """Every point of a sweep, the first axis fastest; one of nothing without a sweep."""
    rows = product(*(axis.values for axis in reversed(axes)))
    return [dict(zip(axes, reversed(row), strict=True)) for row in rows]


def edit_at(edit: Edit, point: Point) -> Edit:
    """The edit at a point of the sweep.

    Raises:
        UserError: what no face can show.
    """
    faces = {axis.face: value for axis, value in point.items() if axis.face is not None}
    fields: dict[str, object] = {
        axis.name: value for axis, value in point.items() if axis.name in _RANGES
    }
    for axis, value in point.items():
        if axis.name == _LIGHT:
            fields["light"] = _LIGHTS[int(value)]
    if faces:
        fields["asked"] = expression_along(edit.asked, faces)
    return replace(edit, **fields)  # type: ignore[arg-type]


def seeds_on(point: Point) -> int:
    """How many seeds further a point is."""
    return sum(int(value) for axis, value in point.items() if axis.name == _SEED)
