"""What every set of pictures is held against: labels, reference photos, the photos themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sfe_core.arrays import Doubles, Indices
from sfe_core.emotions import EMOTIONS
from sfe_core.evaluation.readings import Readings
from sfe_core.evaluation.statistics.references import References

INCEPTION = "inception"  # the network on whose features the distances are FID and KID


@dataclass(frozen=True)
class Labels:
    """What was asked for, one row per key.

    Attributes:
        emotion: [N], index into `EMOTIONS`, -1 where the photo has no label.
        valence, arousal: [N] in [-1, 1], nan where there is none.
    """

    emotion: Indices
    valence: Doubles
    arousal: Doubles

    @classmethod
    def of(cls, rows: pd.DataFrame) -> Labels:
        """Emotion, valence and arousal of manifest rows."""
        index = {name: place for place, name in enumerate(EMOTIONS)}
        return cls(
            emotion=np.array([index.get(name, -1) for name in rows["emotion"]], dtype=np.intp),
            valence=rows["valence"].to_numpy(dtype=np.float64, na_value=np.nan),
            arousal=rows["arousal"].to_numpy(dtype=np.float64, na_value=np.nan),
        )

    def counts(self) -> dict[str, int]:
        """How often each emotion was asked for."""
        return {name: int((self.emotion == place).sum()) for place, name in enumerate(EMOTIONS)}


@dataclass(frozen=True)
class Yardstick:
    """What every set is held against.

    Attributes:
        labels: what was asked for.
        references: of the real photos of another split, by the instrument whose features they are.
        photos: readings of the photos of the same keys.
        perceptual: name of the instrument of LPIPS.
        further: other instruments that measured: dists, clip, identity.
        people: [N] who is on each photo, None where that is not known; None = of no photo.
    """

    labels: Labels
    references: Mapping[str, References]
    photos: Readings
    perceptual: str
    further: frozenset[str] = frozenset()
    people: np.ndarray | None = None
