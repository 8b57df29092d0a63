"""Reading expressions as they are typed: happy=0.7, AU12=3,AU6=2, AU12R=0."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from sfe_core.controls.action_units import read_unit_column
from sfe_core.controls.asked_expression import AskedExpression
from sfe_core.controls.circumplex import expression_at
from sfe_core.controls.expression_change import ExpressionChange
from sfe_core.controls.facial_actions import Sides
from sfe_core.errors import UserError

# AU12L and AU12_left as FACS coders append it, AUL12 as OpenGraphAU puts it in front. `AU12_r` is
# none of them: that is OpenFace's name of an intensity.
_SIDED = re.compile(r"(au[ _-]?\d{1,2})(?:([lr])|[ _-](left|right))", re.IGNORECASE)
_SIDE_FIRST = re.compile(r"au([lr])[ _-]?(\d{1,2})", re.IGNORECASE)


def read_emotion(text: str) -> tuple[str, float | None]:
    """A word and its strength, None where none is given.

    >>> read_emotion("Happy=0.7"), read_emotion("sad")
    (('happy', 0.7), ('sad', None))
    """
    word, equals, value = text.partition("=")
    strength = read_value("--emotion", value, "happy=0.7") if equals else None
    return word.strip().lower(), strength


def read_mixture(text: str) -> tuple[tuple[str, float], ...]:
    """Words and strengths of `happy=0.6,surprise=0.4`.

    Raises:
        UserError: a part without strength.
    """
    return tuple(
        (word.lower(), read_value("--mix", value, "happy=0.6,surprise=0.4"))
        for word, value in _pairs("--mix", [text], "happy=0.6,surprise=0.4")
    )


def read_units(texts: Iterable[str]) -> tuple[tuple[str, Sides], ...]:
    """AU intensities of `AU12=3,AU6=2` and `AU12R=0`: a side says more than the unit as a whole.

    >>> read_units(["AU12=3,AU6=2", "AU12R=0"])
    (('AU12', (3.0, 0.0)), ('AU6', (2.0, 2.0)))

    Raises:
        UserError: no unit of FACS, no number, or one unit and side given twice.
    """
    return _read_sides("--au", texts, "AU12=3,AU6=2, for one side AU12L=3")


def read_change(texts: Iterable[str]) -> ExpressionChange:
    """What `AU12=+2,AU4=-1` and `AU12R=0` add to units that a face shows; unsaid sides stay.

    >>> read_change(["AU12=+2", "AU4L=-1"]).units
    (('AU12', (2.0, 2.0)), ('AU4', (-1.0, 0.0)))

    Raises:
        UserError: as `read_units` and `ExpressionChange`.
    """
    form = "AU12=+2,AU4=-1, for one side AU12L=+2"
    return ExpressionChange(_read_sides("--au-change", texts, form))


def _read_sides(where: str, texts: Iterable[str], form: str) -> tuple[tuple[str, Sides], ...]:
    pairs = _pairs(where, texts, form)
    return join_sides(where, [(name, read_value(f"{where} {name}", v, form)) for name, v in pairs])


def join_sides(where: str, values: Iterable[tuple[str, float]]) -> tuple[tuple[str, Sides], ...]:
    """Units with both sides, of intensities by names with or without a side; unsaid is zero.

    Raises:
        UserError: a name is not a unit's, or one unit and side is given twice.
    """
    given: dict[tuple[str, str], float] = {}
    for name, value in values:
        key = read_unit_name(name)
        if key is None:
            raise UserError(
                f"{where} {name}", "is not an action unit", "write AU12, AU12L or AU12R"
            )
        if key in given:
            raise UserError(f"{where} {name}", "is given twice", "give it once")
        given[key] = value
    codes = dict.fromkeys(code for code, _ in given)
    return tuple(
        (code, (_side(given, code, "left"), _side(given, code, "right"))) for code in codes
    )


def read_unit_name(name: str) -> tuple[str, str] | None:
    """Code and side ("", "left", "right") of AU12, AU12L, AU12_left, AUL12; None = no unit.

    >>> read_unit_name("au12R"), read_unit_name("AU12_r"), read_unit_name("age")
    (('AU12', 'right'), ('AU12', ''), None)
    """
    name, side = name.strip(), ""
    if matched := _SIDED.fullmatch(name):
        name, side = matched[1], (matched[2] or matched[3]).lower()
    elif matched := _SIDE_FIRST.fullmatch(name):
        name, side = f"AU{matched[2]}", matched[1].lower()
    column = read_unit_column(name)
    if column is None:
        return None
    return column.code, {"l": "left", "r": "right"}.get(side, side)


def compose(
    emotion: str | None = None,
    intensity: float | None = None,
    mixture: tuple[tuple[str, float], ...] = (),
    units: tuple[tuple[str, Sides], ...] = (),
    valence: float | None = None,
    arousal: float | None = None,
    given: AskedExpression | None = None,
) -> AskedExpression | None:
    """One expression out of all that was said, None where nothing was.

    Args:
        given: from a file or a photo; only units may be laid over it. Blendshapes are then read
            back as units first.

    Raises:
        UserError: two ways that contradict each other.
    """
    on_circumplex = valence is not None or arousal is not None
    if given is not None:
        if emotion is not None or mixture or on_circumplex:
            raise UserError(
                "the expression",
                "comes from blendshapes, a file or a photo, and from a word, a mixture, valence or "
                "arousal too",
                "give one of them",
            )
        if not units:
            return given
        return (given.as_units() if given.blendshapes else given).with_units(dict(units))
    if on_circumplex:
        if mixture:
            raise UserError("--mix", "has valence and arousal of its own", "leave them out")
        if intensity is not None:
            raise UserError(
                "--valence, --arousal",
                "decide the strength, but one was given too",
                f"write --emotion {emotion} without it",
            )
        found = expression_at(valence, arousal, emotion)
        return found.with_units(dict(units)) if units else found
    if emotion is None and not mixture and not units:
        if intensity is not None:
            raise UserError("intensity", "was given without an emotion", "name the emotion")
        return None
    strength = 1.0 if intensity is None else intensity
    return AskedExpression(emotion, strength, mixture=mixture, units=units)


def read_value(where: str, text: str, form: str) -> float:
    """A finite number.

    Raises:
        UserError: something else.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(where, f"{text.strip()!r} is not a number", f"write it as {form}")
    return value


def _side(given: dict[tuple[str, str], float], code: str, side: str) -> float:
    return given.get((code, side), given.get((code, ""), 0.0))


def _pairs(where: str, texts: Iterable[str], form: str) -> list[tuple[str, str]]:
    parts = [part.partition("=") for text in texts for part in text.split(",") if part.strip()]
    for name, equals, _ in parts:
        if not equals:
            raise UserError(where, f"{name.strip()!r} has no value", f"write it as {form}")
    if not parts:
        raise UserError(where, "is empty", f"write it as {form}")
    return [(name.strip(), value) for name, _, value in parts]
