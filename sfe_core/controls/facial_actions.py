"""How the head shows action units: each as facial actions, which are ARKit's blendshapes.

AU intensity is 0 to 5, as FACS grades A to E. Facial actions are ARKit's, about 0 to 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
from scipy.optimize import nnls

from sfe_core.arrays import Floats
from sfe_core.faces.head import ACTION_NAMES

# Of the left and right of the face, the person's own: shares, 0 to 1, or AU intensities, 0 to 5.
Sides = tuple[float, float]

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
EXCLUSIVE_UNITS = (
    ("AU5", "AU43"), ("AU5", "AU45"), ("AU24", "AU25"), ("AU24", "AU26"), ("AU24", "AU27"),
)  # fmt: skip

# Units that the synthetic faces never draw, but that one may ask for. Which blendshape shows which
# unit: Apple's descriptions of ARFaceAnchor.BlendShapeLocation beside the FACS manual's.
FURTHER_ACTIONS: dict[str, dict[str, float]] = {
    "AU16": {"mouthLowerDown*": 1.6},
    "AU18": {"mouthPucker": 1.3},
    "AU19": {"tongueOut": 1.0},
    "AU22": {"mouthFunnel": 1.3},
    "AU27": {"jawOpen": 1.3},
    "AU28": {"mouthRollLower": 1.6, "mouthRollUpper": 1.6},
    "AU29": {"jawForward": 1.0},
    "AU34": {"cheekPuff": 1.0},
    "AU45": {"eyeBlink*": 0.8},
}
ASKABLE_UNITS: dict[str, dict[str, float]] = ACTIONS_OF_UNIT | FURTHER_ACTIONS
# Those that blendshapes can be read back as: each has movements that no others together have.
READABLE_UNITS: tuple[str, ...] = (*UNITS, "AU18", "AU19", "AU22", "AU29", "AU34")
MOST_ACTIVATION = 2.3  # the head tears beyond


def is_sided(unit: str) -> bool:
    """Whether the two halves of the head can show this unit apart (the subject's left and right).

    Of a unit that it cannot show at all: no.

    >>> is_sided("AU12"), is_sided("AU26"), is_sided("AU38")
    (True, False, False)
    """
    return any(name.endswith("*") for name in ASKABLE_UNITS.get(unit, {}))


def unit_actions(units: dict[str, float], sides: Sides | Mapping[str, Sides]) -> Floats:
    """Facial actions [52] for unit strengths in [0, 1].

    Args:
        units: strength by name, of the stronger side.
        sides: of all units, or of each by its name.
    """
    actions = np.zeros(len(ACTION_NAMES))
    for name, strength in units.items():
        shares = sides[name] if isinstance(sides, Mapping) else sides
        for action, gain in ASKABLE_UNITS[name].items():
            if not action.endswith("*"):
                actions[ACTION_NAMES.index(action)] += gain * strength
                continue
            for side, share in zip(("Left", "Right"), shares, strict=True):
                actions[ACTION_NAMES.index(action[:-1] + side)] += gain * strength * share
    return np.clip(actions, 0.0, MOST_ACTIVATION)


def actions_of_units(units: Mapping[str, Sides]) -> Floats:
    """Facial actions [52] of AU intensities 0 to 5; what moves as one takes the stronger half."""
    full = {name: max(sides) for name, sides in units.items()}
    shares = {
        name: (sides[0] / full[name], sides[1] / full[name]) if full[name] else (0.0, 0.0)
        for name, sides in units.items()
    }
    return unit_actions({name: value / 5.0 for name, value in full.items()}, shares)


def units_of_actions(actions: Floats) -> dict[str, Sides]:
    """AU intensities of facial actions [52]: the units that together come nearest to them.

    Non-negative least squares (C. L. Lawson and R. J. Hanson, "Solving Least Squares Problems",
    1974, ch. 23) over READABLE_UNITS, each half of the face a column of its own. What units cannot
    say, as where the eyes look, is left out; `actions_of_units` is undone as long as no action
    reached its limit.

    Returns:
        Left and right intensity, 0 to 5, of the units above a hundredth.
    """
    columns, places = _unit_columns()
    found, _ = nnls(columns, np.asarray(actions, np.float64))
    units: dict[str, Sides] = {}
    for name in READABLE_UNITS:
        left, right = (
            round(float(np.clip(5.0 * found[place], 0.0, 5.0)), 6) for place in places[name]
        )
        if max(left, right) > 0.01:
            units[name] = (left, right)
    return units


@cache
def _unit_columns() -> tuple[Floats, dict[str, tuple[int, int]]]:
    """Actions [52, columns] at full intensity, and each unit's column for left and right."""
    columns: list[Floats] = []
    places: dict[str, tuple[int, int]] = {}
    for name in READABLE_UNITS:
        halves = ((1.0, 0.0), (0.0, 1.0)) if is_sided(name) else ((1.0, 1.0),)
        places[name] = (len(columns), len(columns) + len(halves) - 1)
        # What a unit moves as one (AU25's jaw) belongs to both halves by half.
        for sides in halves:
            columns.append(_half(name, sides))
    return np.stack(columns, axis=1).astype(np.float64), places


def _half(name: str, sides: Sides) -> Floats:
    whole = unit_actions({name: 1.0}, sides)
    if sides != (1.0, 1.0):
        middle = [ACTION_NAMES.index(a) for a in ASKABLE_UNITS[name] if not a.endswith("*")]
        whole[middle] *= 0.5
    return whole
