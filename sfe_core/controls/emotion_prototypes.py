"""What muscles an emotion moves, and where it lies on the circumplex.

Prototypes: P. Ekman and W. V. Friesen's EMFACS combinations for the six basic emotions and the
unilateral 12 + 14 of contempt (Ekman & Friesen, "A new pan-cultural facial expression of
emotion", Motivation and Emotion 10, 1986), completed by the units that more than half, or a
sizeable part, of the posers used in table 1 of S. Du, Y. Tao and A. M. Martinez, "Compound facial
expressions of emotion", PNAS 111(15), 2014, doi:10.1073/pnas.1322355111.

Valence and arousal follow the circumplex of J. A. Russell, "A circumplex model of affect", JPSP
39(6), 1980: each emotion has a place on it, and a weaker expression lies nearer the centre.
"""

from __future__ import annotations

from dataclasses import dataclass


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
