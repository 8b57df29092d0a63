"""Drawing expressions by chance: an emotion's prototype, varied, or a random set of units.

The tables are those of `controls.emotion_prototypes` and `controls.facial_actions`. AU intensity
is 0 to 5, as FACS grades A to E.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sfe_core.controls.emotion_prototypes import PROTOTYPES
from sfe_core.controls.facial_actions import (
    EXCLUSIVE_UNITS,
    SIDED_UNITS,
    UNITS,
    Sides,
    unit_actions,
)
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError

# Weaker than this, the emotion could not be read off the face and the label would be noise.
INTENSITY_RANGE = (0.62, 1.0)
FULL_INTENSITY = 5.0
OPTIONAL_CHANCE = 0.45
# Faces at rest are never quite still: mean of each unit's share of full intensity.
REST = 0.015
MOST_RANDOM_UNITS = 6
ONE_SIDED_CHANCE = 0.35


@dataclass(frozen=True)
class Expression:
    """A face's expression and its labels."""

    emotion: str
    intensity: float  # share of the prototype, 0 to 1
    units: tuple[float, ...]  # AU intensities 0 to 5 in the order of UNITS
    sides: tuple[Sides, ...]  # of each unit, in the order of UNITS
    actions: tuple[float, ...]  # 52 activations in the order of ACTION_NAMES
    valence: float  # -1 to 1; nan where random units stand in place of an emotion
    arousal: float  # likewise

    @property
    def units_of_sides(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """AU intensities 0 to 5 of the left and of the right half, each in the order of UNITS.

        Units that move both halves as one (AU1, AU17, AU23, AU26) are equal in both.
        """
        left, right = (
            tuple(
                round(strength * (shares[side] if unit in SIDED_UNITS else 1.0), 3)
                for unit, strength, shares in zip(UNITS, self.units, self.sides, strict=True)
            )
            for side in (0, 1)
        )
        return left, right


def sample_expression(emotion: str, rng: np.random.Generator) -> Expression:
    """Draw an expression of `emotion`: varied intensity, optional units, asymmetry.

    Raises:
        UserError: `emotion` is not one of EMOTIONS.
    """
    if emotion not in PROTOTYPES:
        raise UserError("emotion", f"is {emotion!r}", f"choose one of {', '.join(EMOTIONS)}")
    prototype = PROTOTYPES[emotion]
    intensity = float(rng.uniform(*INTENSITY_RANGE))
    units = dict.fromkeys(UNITS, 0.0)
    for name, share in prototype.core.items():
        units[name] = share * intensity * rng.uniform(0.85, 1.1)
    for name, share in prototype.optional.items():
        # Both draws always happen, so that one choice does not shift all that follow.
        present, strength = rng.random() < OPTIONAL_CHANCE, rng.uniform(0.5, 1.0)
        units[name] += share * intensity * strength * present
    for name in UNITS:
        units[name] = float(np.clip(units[name] + rng.exponential(REST), 0.0, 1.0))
    left = 1.0 if rng.random() < 0.5 else 0.0
    both = (left, 1.0 - left) if prototype.unilateral else rng.uniform(0.88, 1.0, 2)
    sides = (float(both[0]), float(both[1]))
    circumplex = np.array([prototype.valence, prototype.arousal]) * (0.45 + 0.55 * intensity)
    valence, arousal = np.clip(circumplex + rng.normal(0.0, 0.04, 2), -1.0, 1.0)
    return Expression(
        emotion=emotion,
        intensity=intensity if emotion != "neutral" else 0.0,
        units=tuple(round(FULL_INTENSITY * value, 3) for value in units.values()),
        sides=(sides,) * len(UNITS),
        actions=tuple(float(value) for value in unit_actions(units, sides)),
        valence=round(float(valence), 4),
        arousal=round(float(arousal), 4),
    )


def sample_units(rng: np.random.Generator) -> Expression:
    """Draw a random combination of units, each with its own intensity and share of the sides.

    Units of an emotion come together; who learns to tell them apart needs faces on which they do
    not. One to six units that go together (`EXCLUSIVE_UNITS`), a third of those that can be so
    mostly on one side. The face shows no emotion of `EMOTIONS`: it is called neutral, without
    valence or arousal (nan), and is not for learning emotions.
    """
    wanted = int(rng.integers(1, MOST_RANDOM_UNITS + 1))
    shown: set[str] = set()
    for number in rng.permutation(len(UNITS)):
        name = UNITS[number]
        if len(shown) < wanted and not any(
            name in pair and shown & set(pair) for pair in EXCLUSIVE_UNITS
        ):
            shown.add(name)
    units: dict[str, float] = {}
    sides: dict[str, Sides] = {}
    for name in UNITS:
        # All draws always happen, so that one choice does not shift all that follow.
        strength, rest = rng.uniform(0.2, 1.0), rng.exponential(REST)
        units[name] = float(np.clip(strength * (name in shown) + rest, 0.0, 1.0))
        one_sided = rng.random() < ONE_SIDED_CHANCE
        weaker = float(rng.uniform(0.0, 0.4) if one_sided else rng.uniform(0.85, 1.0))
        both = (1.0, weaker) if rng.random() < 0.5 else (weaker, 1.0)
        sides[name] = both if name in SIDED_UNITS else (1.0, 1.0)
    return Expression(
        emotion="neutral",
        intensity=0.0,
        units=tuple(round(FULL_INTENSITY * value, 3) for value in units.values()),
        sides=tuple(sides.values()),
        actions=tuple(float(value) for value in unit_actions(units, sides)),
        valence=math.nan,
        arousal=math.nan,
    )
