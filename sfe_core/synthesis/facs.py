"""From an emotion to facial muscles: emotion prototypes, action units, facial actions.

Prototypes: P. Ekman and W. V. Friesen's EMFACS combinations for the six basic emotions and the
unilateral 12 + 14 of contempt (Ekman & Friesen, "A new pan-cultural facial expression of
emotion", Motivation and Emotion 10, 1986), completed by the units that more than half, or a
sizeable part, of the posers used in table 1 of S. Du, Y. Tao and A. M. Martinez, "Compound facial
expressions of emotion", PNAS 111(15), 2014, doi:10.1073/pnas.1322355111.

Valence and arousal follow the circumplex of J. A. Russell, "A circumplex model of affect", JPSP
39(6), 1980: each emotion has a place on it, and a weaker expression lies nearer the centre.

AU intensity is 0 to 5, as FACS grades A to E. Facial actions are ARKit's, about 0 to 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sfe_core.arrays import Floats
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError
from sfe_core.faces.head import ACTION_NAMES

# Weaker than this, the emotion could not be read off the face and the label would be noise.
INTENSITY_RANGE = (0.62, 1.0)
FULL_INTENSITY = 5.0
OPTIONAL_CHANCE = 0.45
# Faces at rest are never quite still: mean of each unit's share of full intensity.
REST = 0.015

Sides = tuple[float, float]  # shares of an intensity on the left and right of the face, 0 to 1


@dataclass(frozen=True)
class Prototype:
    """Action units of an emotion with their share of full intensity, and its circumplex place."""

    core: dict[str, float]
    optional: dict[str, float]
    valence: float
    arousal: float
    unilateral: bool = False


PROTOTYPES: dict[str, Prototype] = {
    "neutral": Prototype({}, {}, 0.0, 0.0),
    "happy": Prototype({"AU6": 0.8, "AU12": 1.0, "AU25": 0.9}, {"AU26": 0.3}, 0.85, 0.35),
    "sad": Prototype(
        {"AU1": 1.0, "AU4": 0.55, "AU15": 1.0, "AU17": 0.5}, {"AU43": 0.3}, -0.7, -0.4
    ),
    "surprise": Prototype(
        {"AU1": 1.0, "AU2": 1.0, "AU5": 0.9, "AU25": 0.4, "AU26": 1.0}, {}, 0.15, 0.8
    ),
    "fear": Prototype(
        {"AU1": 1.0, "AU2": 0.3, "AU4": 0.6, "AU5": 1.0, "AU20": 1.0, "AU25": 0.9},
        {"AU26": 0.35},
        -0.6,
        0.75,
    ),
    "disgust": Prototype(
        {"AU4": 0.3, "AU7": 0.5, "AU9": 1.0, "AU10": 1.0, "AU17": 0.4, "AU25": 0.5},
        {"AU15": 0.4},
        -0.75,
        0.35,
    ),
    "anger": Prototype(
        {"AU4": 1.0, "AU5": 0.1, "AU7": 1.0, "AU15": 0.3, "AU17": 0.5, "AU23": 0.7, "AU24": 0.9},
        {"AU9": 0.25},
        -0.65,
        0.65,
    ),
    "contempt": Prototype({"AU12": 1.0, "AU14": 1.0}, {"AU7": 0.3}, -0.5, 0.15, unilateral=True),
}

# AU -> facial actions with the activation reached at intensity 5; "*" stands for Left and Right.
ACTIONS_OF_UNIT: dict[str, dict[str, float]] = {
    "AU1": {"browInnerUp": 1.8},
    "AU2": {"browOuterUp*": 1.6},
    "AU4": {"browDown*": 2.0, "noseSneer*": 0.45},
    "AU5": {"eyeWide*": 1.5},
    "AU6": {"cheekSquint*": 1.0, "eyeSquint*": 0.35},
    "AU7": {"eyeSquint*": 1.0},
    "AU9": {"noseSneer*": 1.9, "browDown*": 0.4},
    "AU10": {"mouthUpperUp*": 1.7, "noseSneer*": 0.3},
    "AU12": {"mouthSmile*": 1.55, "cheekSquint*": 0.25},
    "AU14": {"mouthDimple*": 0.7, "mouthPress*": 0.4},
    "AU15": {"mouthFrown*": 1.7},
    "AU17": {"mouthShrugLower": 1.0, "mouthShrugUpper": 0.35},
    "AU20": {"mouthStretch*": 1.8},
    "AU23": {"mouthRollLower": 1.0, "mouthRollUpper": 1.0},
    "AU24": {"mouthPress*": 1.4},
    "AU25": {"mouthLowerDown*": 1.0, "mouthUpperUp*": 0.75, "jawOpen": 0.16},
    "AU26": {"jawOpen": 0.75},
    "AU43": {"eyeBlink*": 0.8},
}
UNITS: tuple[str, ...] = tuple(ACTIONS_OF_UNIT)
SIDED_UNITS = frozenset(
    unit for unit, actions in ACTIONS_OF_UNIT.items() if any(name.endswith("*") for name in actions)
)
# No face does both at once, or not so that it shows (FACS manual, Ekman, Friesen & Hager 2002):
# lids wide or closed, lips pressed or apart.
EXCLUSIVE_UNITS = (("AU5", "AU43"), ("AU24", "AU25"), ("AU24", "AU26"))
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


def unit_actions(units: dict[str, float], sides: Sides | Mapping[str, Sides]) -> Floats:
    """Facial actions [52] for unit strengths in [0, 1].

    Args:
        units: strength by name, of the stronger side.
        sides: of all units, or of each by its name.
    """
    actions = np.zeros(len(ACTION_NAMES))
    for name, strength in units.items():
        shares = sides[name] if isinstance(sides, Mapping) else sides
        for action, gain in ACTIONS_OF_UNIT[name].items():
            if not action.endswith("*"):
                actions[ACTION_NAMES.index(action)] += gain * strength
                continue
            for side, share in zip(("Left", "Right"), shares, strict=True):
                actions[ACTION_NAMES.index(action[:-1] + side)] += gain * strength * share
    return np.clip(actions, 0.0, 2.3)
