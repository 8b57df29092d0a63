"""How the head shows action units: each as facial actions, which are ARKit's blendshapes.

AU intensity is 0 to 5, as FACS grades A to E. Facial actions are ARKit's, about 0 to 1.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sfe_core.arrays import Floats
from sfe_core.faces.head import ACTION_NAMES

Sides = tuple[float, float]  # shares of an intensity on the left and right of the face, 0 to 1

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
