"""What every set of pictures is held against: labels, reference photos, the photos themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from sfe_core.arrays import Doubles, Indices
from sfe_core.corpus.annotations.unit_labels import labelled_units, told_units
from sfe_core.diffusion.unit_attention import LEFT, PRESENT, RIGHT, unit_conditions
from sfe_core.emotions import EMOTIONS
from sfe_core.evaluation.readings import Readings
from sfe_core.evaluation.statistics.references import References

INCEPTION = "inception"  # the network on whose features the distances are FID and KID
UNITS = "units"  # the instrument that reads action units
# Intensity from which a unit counts as present: FACS's B, slight, above a mere trace. Papers that
# score DISFA's intensities by F1 are said to cut there too; no source was at hand to check it by.
PRESENT_FROM = 2.0


@dataclass(frozen=True)
class Labels:
    """What was asked for, one row per key.

    Attributes:
        emotion: [N], index into `EMOTIONS`, -1 where the photo has no label.
        valence, arousal: [N] in [-1, 1], nan where there is none.
        units: action unit → [N, 3]: intensity 0 to 5 on the person's left and right, and whether
            it is present; nan where it is not told, or where the picture does not count for this
            unit. Only units that were asked for.
        commanded: the same of protocols, where every unit of every picture was told; empty where
            `units` says so.
    """

    emotion: Indices
    valence: Doubles
    arousal: Doubles
    units: Mapping[str, Doubles] = field(default_factory=dict)
    commanded: Mapping[str, Doubles] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: pd.DataFrame) -> Labels:
        """Emotion, valence and arousal of manifest rows."""
        index = {name: place for place, name in enumerate(EMOTIONS)}
        return cls(
            emotion=np.array([index.get(name, -1) for name in rows["emotion"]], dtype=np.intp),
            valence=rows["valence"].to_numpy(dtype=np.float64, na_value=np.nan),
            arousal=rows["arousal"].to_numpy(dtype=np.float64, na_value=np.nan),
            units=unit_labels(rows),
        )

    def counts(self) -> dict[str, int]:
        """How often each emotion was asked for."""
        return {name: int((self.emotion == place).sum()) for place, name in enumerate(EMOTIONS)}


def unit_labels(rows: pd.DataFrame) -> dict[str, Doubles]:
    """What the labels of manifest rows tell of action units, see `Labels.units`.

    Raises:
        UserError: a column holds text, or a number that is no intensity.
    """
    units = labelled_units(rows)
    told = unit_conditions(units, told_units(units, rows)).double().numpy()
    return {unit: with_presence(told[:, place]) for place, unit in enumerate(units)}


def with_presence(told: Doubles) -> Doubles:
    """[N, 3] of a unit with its presence filled in where only intensities are told."""
    stronger = np.fmax(told[:, LEFT], told[:, RIGHT])
    graded = np.where(np.isnan(stronger), np.nan, (stronger >= PRESENT_FROM).astype(float))
    present = np.where(np.isnan(told[:, PRESENT]), graded, told[:, PRESENT])
    return np.stack([told[:, LEFT], told[:, RIGHT], present], axis=1)


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
