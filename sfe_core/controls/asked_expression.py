"""What expression is asked for, in whichever way, and what each way says in the others' terms.

An expression is a word with a strength, a mixture of words, a place on the circumplex (turned into
a word and its strength by `circumplex.expression_at`), AU intensities, or blendshapes. Units may be
laid over words: they stand in place of what the word says of them. All are shown through the 52
facial actions of the head.

A mixture moves each unit as far as the word that pulls it furthest, since compound expressions
show the units of both emotions, none of them doubled (S. Du, Y. Tao and A. M. Martinez, "Compound
facial expressions of emotion", PNAS 111(15), 2014).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from sfe_core.arrays import Floats
from sfe_core.controls.action_units import ACTION_UNITS, MAXIMUM_INTENSITY
from sfe_core.controls.emotion_prototypes import PROTOTYPES
from sfe_core.controls.facial_actions import (
    ASKABLE_UNITS,
    EXCLUSIVE_UNITS,
    MOST_ACTIVATION,
    Sides,
    actions_of_units,
    is_sided,
    unit_actions,
    units_of_actions,
)
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError
from sfe_core.faces.head import ACTION_NAMES

TRACE = 0.5  # half the weakest FACS grade: below it nothing is to be seen
# Of a word: embeddings go half as far again beyond the whole expression; a face shows 1 at most.
MOST_STRENGTH = 1.5


@dataclass(frozen=True)
class AskedExpression:
    """An expression to be shown.

    Args:
        emotion: one of EMOTIONS; None = asked for in another way.
        intensity: of `emotion`, 0 (neutral) to 1 (the whole prototype), where it is told as an
            embedding to 1.5.
        mixture: words and their strengths, of the same range, in place of `emotion`.
        units: FACS codes with the intensity 0 to 5 of the left and right half, the subject's.
        blendshapes: ARKit's names with their activation, 0 to 2.3; they say all of the face.
        valence: -1 to 1, where it was asked for; `emotion` and `intensity` say what is shown.
        arousal: likewise.
        named: an emotion that goes with units or blendshapes and that the text may name: read off
            the photo they come from, or the word that was turned into them.

    Raises:
        UserError: something unknown, out of range, or said in two ways.
    """

    emotion: str | None = None
    intensity: float = 1.0
    mixture: tuple[tuple[str, float], ...] = ()
    units: tuple[tuple[str, Sides], ...] = ()
    blendshapes: tuple[tuple[str, float], ...] = ()
    valence: float | None = field(default=None, compare=False)
    arousal: float | None = field(default=None, compare=False)
    named: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.emotion is not None:
            _check_word("--emotion", self.emotion)
        _check_range("intensity", self.intensity, 0.0, MOST_STRENGTH)
        for word, strength in self.mixture:
            _check_word("--mix", word)
            _check_range(f"--mix {word}", strength, 0.0, MOST_STRENGTH)
        for code, sides in self.units:
            check_unit("--au", code, sides)
        for name, value in self.blendshapes:
            if name not in ACTION_NAMES:
                raise UserError(
                    "blendshapes", f"{name!r} is unknown", "use ARKit's 52 names, as browInnerUp"
                )
            _check_range(f"blendshapes: {name}", value, 0.0, MOST_ACTIVATION)
        for kind in ("mixture", "units", "blendshapes"):
            check_once(kind, [name for name, _ in getattr(self, kind)])
        if self.emotion is not None and self.mixture:
            raise UserError("--mix", "was given together with --emotion", "give one of them")
        if self.blendshapes and (self.emotion is not None or self.mixture or self.units):
            raise UserError(
                "blendshapes",
                "say all of the face, but words or units were given too",
                "give one of them",
            )
        check_exclusive("--au", self.units)

    @property
    def word(self) -> str | None:
        """The emotion to be put into words: the one asked for, or a mixture's strongest."""
        if self.mixture:
            return max(self.mixture, key=lambda part: part[1])[0]
        return self.emotion or self.named

    @property
    def words(self) -> dict[str, float] | None:
        """Words and their strengths, where the face is asked for by nothing else; or None."""
        if self.units or self.blendshapes:
            return None
        words = dict(self.mixture)
        return words if self.emotion is None else {self.emotion: self.intensity}

    def require_shown(self) -> None:
        """See that a face can show it: beyond the whole expression only embeddings go.

        Raises:
            UserError: a strength of more than 1.
        """
        for word, strength in (self.words or {}).items():
            if strength > 1.0:
                raise UserError(
                    f"strength of {word}",
                    f"{strength:g}, and a face shows all of it at 1",
                    "give 0 to 1, or a package that holds expressions/",
                )

    def unit_intensities(self) -> dict[str, Sides]:
        """Intensity 0 to 5 of each unit that is asked for, left and right.

        Blendshapes are read back as the units that come nearest to them.
        """
        if self.blendshapes:
            return units_of_actions(self.actions())
        return {code: (5.0 * left, 5.0 * right) for code, (left, right) in self._shares().items()}

    def actions(self) -> Floats:
        """Facial actions [52], in the order of ACTION_NAMES.

        Contempt, whose units are on one side, shows on the left.
        """
        if self.blendshapes:
            actions = np.zeros(len(ACTION_NAMES))
            for name, value in self.blendshapes:
                actions[ACTION_NAMES.index(name)] = value
            return actions
        if self.emotion is not None and not self.units:
            prototype = PROTOTYPES[self.emotion]
            shares = {name: share * self.intensity for name, share in prototype.core.items()}
            return unit_actions(shares, (1.0, 0.0) if prototype.unilateral else (1.0, 1.0))
        return actions_of_units(self.unit_intensities())

    def place(self) -> tuple[float, float]:
        """Valence and arousal, -1 to 1: as asked for, or where the shown expression lies.

        A mixture lies at the sum of its words' places (Russell 1980), held within the square.
        """
        parts = dict(self.mixture)
        if self.emotion is not None:
            parts = {self.emotion: self.intensity}
        if not parts or self.units:
            word, strength = nearest_emotion(self.unit_intensities())
            parts = {word: strength}
        valence = sum(PROTOTYPES[word].valence * share for word, share in parts.items())
        arousal = sum(PROTOTYPES[word].arousal * share for word, share in parts.items())
        return (
            self.valence if self.valence is not None else max(-1.0, min(1.0, valence)),
            self.arousal if self.arousal is not None else max(-1.0, min(1.0, arousal)),
        )

    def as_blendshapes(self) -> AskedExpression:
        """The same face, asked for by those of the 52 blendshapes that are not zero."""
        pairs = zip(ACTION_NAMES, self.actions(), strict=True)
        return self._in_other_terms(
            blendshapes=tuple((name, float(value)) for name, value in pairs if value)
        )

    def as_units(self) -> AskedExpression:
        """The face asked for by AU intensities."""
        units = without_exclusive(self.unit_intensities())
        return self._in_other_terms(units=tuple(units.items()))

    def _in_other_terms(self, **said: Any) -> AskedExpression:
        return AskedExpression(**said, valence=self.valence, arousal=self.arousal, named=self.word)

    def scaled(self, share: float) -> AskedExpression:
        """The same on its way from the face at rest, all of it times a share of 0 to 1."""
        return replace(
            self,
            intensity=self.intensity * share if self.emotion else self.intensity,
            mixture=tuple((word, value * share) for word, value in self.mixture),
            units=tuple((code, (a * share, b * share)) for code, (a, b) in self.units),
            blendshapes=tuple((name, value * share) for name, value in self.blendshapes),
            valence=None,
            arousal=None,
        )

    def record(self) -> dict[str, Any]:
        """What decides the face, as it stands in a picture's record."""
        if self.emotion is not None and not self.units:
            return {"emotion": self.emotion, "intensity": self.intensity}
        said = {
            "emotion": self.emotion,
            "intensity": self.intensity if self.emotion else None,
            "mixture": dict(self.mixture),
            "units": {code: list(sides) for code, sides in self.units},
            "blendshapes": dict(self.blendshapes),
        }
        return {name: value for name, value in said.items() if value}

    def with_units(self, units: Mapping[str, Sides]) -> AskedExpression:
        """The same with these units in place of what it says of them."""
        return replace(self, units=tuple((dict(self.units) | dict(units)).items()))

    def _shares(self) -> dict[str, Sides]:
        """Each unit's share of full intensity, left and right: words, then units over them."""
        words = dict(self.mixture) if self.emotion is None else {self.emotion: self.intensity}
        shares: dict[str, Sides] = {}
        for word, strength in words.items():
            prototype = PROTOTYPES[word]
            for name, share in prototype.core.items():
                left, right = shares.get(name, (0.0, 0.0))
                pulled = share * strength
                shares[name] = (max(left, pulled), max(right, pulled * (not prototype.unilateral)))
        asked = {code: (left / 5.0, right / 5.0) for code, (left, right) in self.units}
        # What is asked for by name holds against what a word says of its opposite.
        for one, other in EXCLUSIVE_UNITS:
            for named, opposite in ((one, other), (other, one)):
                if max(asked.get(named, (0.0, 0.0))) * 5.0 > TRACE and opposite not in asked:
                    shares.pop(opposite, None)
        return without_exclusive(shares) | asked


def without_exclusive(units: Mapping[str, Sides]) -> dict[str, Sides]:
    """Units without the weaker of two that no face shows at once (EXCLUSIVE_UNITS)."""
    kept = dict(units)
    for pair in EXCLUSIVE_UNITS:
        if kept.keys() >= set(pair):
            weaker = min(pair, key=lambda code: max(kept[code]))
            if max(kept[weaker]) > 0:
                del kept[weaker]
    return kept


def nearest_emotion(units: Mapping[str, Sides]) -> tuple[str, float]:
    """The emotion, and its strength 0 to 1, whose prototype comes nearest to these units.

    Nearest is the least sum of squared differences over the left and right of all units; of equals
    the weaker, so that a face at rest is neutral. It undoes what a word says of units.

    >>> nearest_emotion(AskedExpression("fear", 0.5).unit_intensities())
    ('fear', 0.5)
    """
    asked = _vector(units) / MAXIMUM_INTENSITY
    best, found = math.inf, ("neutral", 0.0)
    for word in EMOTIONS:
        whole = _vector(AskedExpression(word).unit_intensities()) / MAXIMUM_INTENSITY
        length = float(whole @ whole)
        strength = float(np.clip(asked @ whole / length, 0.0, 1.0)) if length else 0.0
        distance = float(np.linalg.norm(asked - strength * whole))
        if distance < best - 1e-9:
            best, found = distance, (word, round(strength, 9))
    return found


def _vector(units: Mapping[str, Sides]) -> Floats:
    return np.array([value for code in ASKABLE_UNITS for value in units.get(code, (0.0, 0.0))])


def _check_word(where: str, word: str) -> None:
    if word not in EMOTIONS:
        raise UserError(where, f"{word!r}", f"choose one of {', '.join(EMOTIONS)}")


def _check_range(where: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # nan is in no range
        raise UserError(where, f"{value:g}", f"give {low:g} to {high:g}")


def check_unit(where: str, code: str, sides: Sides, least: float = 0.0) -> None:
    """Refuse a unit that the head cannot show, or not so.

    Args:
        where: what was typed, for the message.
        sides: of the person's left and right half, `least` to 5.

    Raises:
        UserError: no unit, out of range, or sides that differ where both halves move as one.
    """
    if code not in ASKABLE_UNITS:
        known = "is not a unit of FACS" if code not in ACTION_UNITS else "the head cannot show it"
        raise UserError(where, f"{code}: {known}", f"choose of {', '.join(ASKABLE_UNITS)}")
    for value in sides:
        _check_range(f"{where} {code}", value, least, MAXIMUM_INTENSITY)
    if sides[0] != sides[1] and not is_sided(code):
        raise UserError(
            f"{where} {code}",
            f"{ACTION_UNITS[code].name} moves both halves of the head as one",
            "give it without L or R",
        )


def check_once(where: str, names: list[str]) -> None:
    """Refuse a name that is given twice.

    Raises:
        UserError: naming it.
    """
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(where, f"{twice} is given twice", "give it once")


def check_exclusive(where: str, units: Iterable[tuple[str, Sides]]) -> None:
    """Refuse two units, both to be seen, that no face shows at once (EXCLUSIVE_UNITS).

    Raises:
        UserError: naming both.
    """
    shown = {code for code, sides in units if max(sides) > TRACE}
    for one, other in EXCLUSIVE_UNITS:
        if {one, other} <= shown:
            names = f"{ACTION_UNITS[one].name} and {ACTION_UNITS[other].name}"
            raise UserError(
                where,
                f"{one} and {other}: no face shows {names} at once",
                f"leave one of them out, or keep it below {TRACE}",
            )
