"""From valence and arousal to an emotion's word and its strength, without chance.

The places of the emotions are those of `PROTOTYPES` on J. A. Russell's circumplex (JPSP 39(6),
1980); along the line from neutral to such a place the expression grows from nothing to the whole.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from sfe_core.arrays import Floats
from sfe_core.controls.asked_expression import AskedExpression
from sfe_core.controls.emotion_prototypes import PROTOTYPES
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError


def expression_at(
    valence: float | None, arousal: float | None, emotion: str | None = None
) -> AskedExpression:
    """The expression nearest to a place on the circumplex.

    Args:
        valence: -1 to 1; None = not asked for, so that arousal alone decides.
        arousal: likewise.
        emotion: None = whichever comes nearest; else only its intensity is chosen.

    Raises:
        UserError: a value out of range, neither given, or an unknown emotion.

    >>> expression_at(0.0, 0.0).record()
    {'emotion': 'neutral', 'intensity': 0.0}
    >>> expression_at(0.8, 0.2).emotion
    'happy'
    """
    for name, value in (("--valence", valence), ("--arousal", arousal)):
        if value is not None and not -1.0 <= value <= 1.0:
            raise UserError(name, f"{value}", "give -1 to 1")
    asked = np.array([math.nan if value is None else value for value in (valence, arousal)])
    known = ~np.isnan(asked)
    if not known.any():
        raise UserError("--valence, --arousal", "neither is given", "give one of them")
    if emotion is not None:
        AskedExpression(emotion)  # refuses an unknown word
    names = EMOTIONS if emotion is None else (emotion,)
    nearest = [_nearest(name, asked[known], known) for name in names]
    # Of equals the weaker: at the centre every emotion comes down to neutral.
    found = min(nearest, key=lambda found: (round(found[0], 9), found[1].intensity))[1]
    return replace(found, valence=valence, arousal=arousal)


def _nearest(name: str, asked: Floats, known: Floats) -> tuple[float, AskedExpression]:
    place = np.array([PROTOTYPES[name].valence, PROTOTYPES[name].arousal])[known]
    length = float(place @ place)
    intensity = float(np.clip(asked @ place / length, 0.0, 1.0)) if length else 0.0
    return float(np.linalg.norm(asked - intensity * place)), AskedExpression(name, intensity)
