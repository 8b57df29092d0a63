"""What a sweep goes along, and the expression at each point of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from sfe_core.controls.action_units import MAXIMUM_INTENSITY
from sfe_core.controls.asked_expression import AskedExpression
from sfe_core.controls.circumplex import expression_at
from sfe_core.controls.expression_text import read_unit_name
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError
from sfe_core.faces.head import ACTION_NAMES

Kind = Literal["emotion", "intensity", "seed", "place", "word", "unit", "blendshape"]
_WHOLE: dict[str, Kind] = {"emotion": "emotion", "intensity": "intensity", "seed": "seed"}
_BLENDSHAPES = {name.lower(): name for name in ACTION_NAMES}
_USUAL_COUNTS = {"seed": 8, "unit": 6}
_USUAL_COUNT = 5
_SIDES = {"": "", "left": "L", "right": "R"}


@dataclass(frozen=True)
class Axis:
    """One direction of a sweep.

    Args:
        kind: what moves along it.
        name: as asked for, in its usual spelling: AU12, AU12L, valence, happy, jawOpen.
        values: in order. Emotions are numbered as in EMOTIONS, seeds from 0.
    """

    kind: Kind
    name: str
    values: tuple[float, ...]

    @property
    def graded(self) -> bool:
        """Whether a value lies between its neighbours."""
        return self.kind not in ("emotion", "seed")


def read_axes(text: str, count: int | None) -> tuple[Axis, ...]:
    """The one or two axes of `AU12`, `valence` or `AU12xAU4`.

    Args:
        count: of values along each; None = 5, of a unit alone 6, of seeds alone 8.

    Raises:
        UserError: an unknown axis, more than two, or one given twice.
    """
    parts = [part.strip() for part in re.split("[x×]", text)]  # no axis has an x in its name
    if len(parts) > 2:
        raise UserError("--sweep", f"{text!r} has {len(parts)} axes", "give one or two: AU12xAU4")
    axes = tuple(_read_axis(part, count, alone=len(parts) == 1) for part in parts)
    names = [axis.name for axis in axes]
    whole = {name.rstrip("LR") for name in names if name.startswith("AU")}
    if len(set(names)) < len(names) or (len(whole) == 1 < len(names) and whole & set(names)):
        raise UserError("--sweep", f"{text!r} moves one thing twice", "give two that differ")
    if count is not None and all(axis.kind == "emotion" for axis in axes):
        raise UserError("--count", "has no part in --sweep emotion", "leave it out")
    return axes


def _read_axis(text: str, count: int | None, alone: bool) -> Axis:
    kind, name, low, high = _named(text)
    if kind == "emotion":
        return Axis(kind, name, tuple(float(place) for place in range(len(EMOTIONS))))
    steps = count or (_USUAL_COUNTS.get(kind, _USUAL_COUNT) if alone else _USUAL_COUNT)
    if kind == "seed":
        return Axis(kind, name, tuple(float(step) for step in range(steps)))
    width = (high - low) / max(1, steps - 1)
    return Axis(kind, name, tuple(low + width * step for step in range(steps)))


def _named(text: str) -> tuple[Kind, str, float, float]:
    """Kind, usual spelling, and least and largest value."""
    word = text.lower()
    if word in _WHOLE:
        return _WHOLE[word], word, 0.0, 1.0
    if word in ("valence", "arousal"):
        return "place", word, -1.0, 1.0
    if word in EMOTIONS and word != "neutral":
        return "word", word, 0.0, 1.0
    if word in _BLENDSHAPES:
        return "blendshape", _BLENDSHAPES[word], 0.0, 1.0
    unit = read_unit_name(text)
    if unit is None:
        raise UserError(
            "--sweep",
            f"{text!r} is unknown",
            "use emotion, intensity, seed, valence, arousal, a word as happy, a unit as AU12 or "
            "AU12L, a blendshape as jawOpen, or two of them: AU12xAU4",
        )
    code, side = unit
    AskedExpression(units=((code, (0.0, float(bool(side)))),))  # refuses what the head cannot show
    return "unit", code + _SIDES[side], 0.0, MAXIMUM_INTENSITY


def check_axes(axes: tuple[Axis, ...], base: AskedExpression | None) -> None:
    """Refuse axes that do not go with what else was asked for.

    Raises:
        UserError: which, and what to leave out or add.
    """
    kinds = {axis.kind for axis in axes}
    if "emotion" in kinds and base is not None:
        raise UserError("--sweep emotion", "draws every emotion", "leave --emotion out")
    if "intensity" in kinds and (
        base.emotion == "neutral" if base else kinds <= {"intensity", "seed"}
    ):
        raise UserError(
            "--sweep intensity", "needs an emotion other than neutral", "add --emotion happy"
        )
    words = {"emotion", "word", "place"} & kinds
    if len(words) > 1 and words != {"emotion", "place"}:
        raise UserError(
            "--sweep", f"{axes[0].name} and {axes[1].name} both choose words", "sweep one of them"
        )
    if base is None:
        return
    given = {*dict(base.units), *dict(base.mixture), *dict(base.blendshapes)}
    given |= {name for name in ("valence", "arousal") if getattr(base, name) is not None}
    if base.emotion is not None and base.valence is None and base.arousal is None:
        given.add(base.emotion)
    for axis in axes:
        if axis.name in given and axis.kind != "blendshape":
            raise UserError(f"--sweep {axis.name}", "was asked for beside it", "leave that out")


def expression_along(
    base: AskedExpression | None, point: Mapping[Axis, float], word: str | None = None
) -> AskedExpression | None:
    """The expression at a point of the sweep, None where no axis says anything of it.

    Args:
        base: what was asked for beside the sweep; the axes move it.
        point: value on each axis.
        word: emotion that valence and arousal only choose the strength of.

    Raises:
        UserError: what no face can show, or valence and arousal beside another word.
    """
    face = base
    for axis, value in point.items():
        if axis.kind == "emotion":
            word = EMOTIONS[int(value)]
            face = AskedExpression(word)
    places = {axis.name: value for axis, value in point.items() if axis.kind == "place"}
    if places:
        face = _placed(face, places, word)
    for axis, value in sorted(point.items(), key=lambda pair: pair[0].kind == "blendshape"):
        if axis.kind == "word":
            face = _mixed(face, axis.name, value)
        elif axis.kind == "unit":
            face = _with_unit(face, axis.name, value)
        elif axis.kind == "blendshape":
            face = _with_blendshape(face, axis.name, value)
    for axis, value in point.items():
        if axis.kind == "intensity" and face is not None:
            face = face.scaled(value)
    return face


def _placed(
    base: AskedExpression | None, places: Mapping[str, float], word: str | None
) -> AskedExpression:
    old = base or AskedExpression()
    on_circumplex = old.valence is not None or old.arousal is not None
    chosen = old.emotion is not None and word is None and not on_circumplex
    if chosen or old.mixture or old.blendshapes:
        raise UserError(
            f"--sweep {' x '.join(places)}",
            "decides the expression, but one was given too",
            "leave that out, or name an emotion without a strength",
        )
    found = expression_at(
        places.get("valence", old.valence), places.get("arousal", old.arousal), word
    )
    return replace(found, units=old.units)


def _mixed(base: AskedExpression | None, word: str, strength: float) -> AskedExpression:
    old = base or AskedExpression()
    parts = dict(old.mixture) if old.emotion is None else {old.emotion: old.intensity}
    mixture = tuple((parts | {word: strength}).items())
    return replace(
        old, emotion=None, intensity=1.0, mixture=mixture, valence=None, arousal=None, named=None
    )


def _with_unit(base: AskedExpression | None, name: str, value: float) -> AskedExpression:
    old = base or AskedExpression()
    code = name.rstrip("LR")
    left, right = old.unit_intensities().get(code, (0.0, 0.0))
    sides = (left if name.endswith("R") else value, right if name.endswith("L") else value)
    return (old.as_units() if old.blendshapes else old).with_units({code: sides})


def _with_blendshape(base: AskedExpression | None, name: str, value: float) -> AskedExpression:
    shown = (base or AskedExpression()).as_blendshapes()
    return replace(shown, blendshapes=tuple((dict(shown.blendshapes) | {name: value}).items()))
