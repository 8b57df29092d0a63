"""What is to change in an expression that a face already shows, unit by unit; the rest stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sfe_core.arrays import Floats
from sfe_core.controls.action_units import MAXIMUM_INTENSITY
from sfe_core.controls.asked_expression import TRACE, check_exclusive, check_once, check_unit
from sfe_core.controls.facial_actions import (
    EXCLUSIVE_UNITS,
    MOST_ACTIVATION,
    Sides,
    actions_of_units,
)

WHERE = "--au-change"


@dataclass(frozen=True)
class ExpressionChange:
    """By how much units change from what a face shows.

    Args:
        units: FACS codes with what is added to the intensity of the person's left and right half,
            -5 to 5.

    Raises:
        UserError: no unit that the head can show, out of range, given twice, or raising two that no
            face shows at once.
    """

    units: tuple[tuple[str, Sides], ...]

    def __post_init__(self) -> None:
        for code, sides in self.units:
            check_unit(WHERE, code, sides, -MAXIMUM_INTENSITY)
        check_once(WHERE, [code for code, _ in self.units])
        check_exclusive(WHERE, self.units)

    def scaled(self, share: float) -> ExpressionChange:
        """Part of the way there, 0 to 1."""
        return ExpressionChange(
            tuple((code, (share * left, share * right)) for code, (left, right) in self.units)
        )

    def beside(self, shown: Mapping[str, Sides]) -> ExpressionChange:
        """The same, and away with what the face shows that none shows beside a raised unit.

        Args:
            shown: intensities as read off the face, 0 to 5.

        >>> pressed = ExpressionChange((("AU24", (3.0, 3.0)),))
        >>> pressed.beside({"AU25": (2.0, 1.0)}).units[1:]
        (('AU25', (-2.0, -1.0)),)
        """
        asked = dict(self.units)
        raised = {code for code, sides in self.units if max(sides) > TRACE}
        pairs = [*EXCLUSIVE_UNITS, *((other, one) for one, other in EXCLUSIVE_UNITS)]
        gone = {
            other: (-shown[other][0], -shown[other][1])
            for one, other in pairs
            if one in raised and other not in asked and max(shown.get(other, (0.0, 0.0))) > TRACE
        }
        return ExpressionChange((*self.units, *gone.items()))

    def of_units(self, shown: Mapping[str, Sides]) -> dict[str, Sides]:
        """Intensities after the change, kept within 0 and 5; of units not in `shown`, from 0.

        >>> ExpressionChange((("AU12", (2.0, 2.0)),)).of_units({"AU12": (4.0, 1.0)})
        {'AU12': (5.0, 3.0)}
        """
        changed = {
            code: (_kept(before[0] + by[0]), _kept(before[1] + by[1]))
            for code, by in self.units
            for before in [shown.get(code, (0.0, 0.0))]
        }
        return dict(shown) | changed

    def of_actions(self, shown: Floats, rest: Floats) -> Floats:
        """Facial actions [52] after the change.

        None goes beyond what the raised units show at 5, nor below that of a face at rest, unless
        the face is there already.

        Args:
            shown: of the face, [52].
            rest: of a face at rest, [52].
        """
        signed = {code: np.array(by) for code, by in self.units}
        up = actions_of_units({code: _pair(np.maximum(by, 0)) for code, by in signed.items()})
        down = actions_of_units({code: _pair(np.maximum(-by, 0)) for code, by in signed.items()})
        most = actions_of_units({code: _pair(5.0 * (by > 0)) for code, by in signed.items()})
        highest = np.minimum(rest + most, MOST_ACTIVATION)
        return np.clip(
            shown + up - down, np.minimum(shown, rest), np.maximum(shown, highest)
        ).astype(np.float32)

    def record(self) -> dict[str, list[float]]:
        """As it stands in a picture's record: left and right by code."""
        return {code: list(sides) for code, sides in self.units}

    @classmethod
    def of_record(cls, record: Mapping[str, Sequence[float]]) -> ExpressionChange:
        """What `record` gave.

        >>> smile = ExpressionChange((("AU12", (2.0, 1.0)),))
        >>> ExpressionChange.of_record(smile.record()) == smile
        True
        """
        return cls(tuple((code, (left, right)) for code, (left, right) in record.items()))

    def told(self) -> str:
        """In words.

        >>> ExpressionChange((("AU12", (2.0, 2.0)), ("AU4", (-1.0, 0.0)))).told()
        'AU12 +2, AU4 left -1 right +0'
        """
        return ", ".join(
            f"{code} {left:+g}" if left == right else f"{code} left {left:+g} right {right:+g}"
            for code, (left, right) in self.units
        )


def told_of_units(units: Mapping[str, Sides], weak: bool = False) -> str:
    """Intensities in words.

    Args:
        weak: also those too weak to be seen.

    >>> told_of_units({"AU12": (3.04, 2.96), "AU2": (0.1, 0.0), "AU4": (2.0, 0.0)})
    'AU12 3.0, AU4 left 2.0 right 0.0'
    """
    shown = {code: sides for code, sides in units.items() if weak or max(sides) > TRACE}
    told = {code: [f"{value:.1f}" for value in sides] for code, sides in shown.items()}
    parts = [
        f"{code} {left}" if left == right else f"{code} left {left} right {right}"
        for code, (left, right) in told.items()
    ]
    return ", ".join(parts) or "no unit"


def _kept(value: float) -> float:
    return min(max(value, 0.0), MAXIMUM_INTENSITY)


def _pair(sides: Floats) -> Sides:
    return float(sides[0]), float(sides[1])
