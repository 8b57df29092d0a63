"""Which numbers are computed: each metric's name, meaning and statistic, over a set's readings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sfe_core.emotions import EMOTIONS
from sfe_core.evaluation import agreement, recognition
from sfe_core.evaluation.distances import FrechetReference, KernelReference
from sfe_core.evaluation.intervals import (
    Estimate,
    Indices,
    estimate,
    resample,
    unanimous_interval,
    without_resampling_bias,
)
from sfe_core.evaluation.readings import Array, Readings
from sfe_core.evaluation.summary import Metric

# A Fréchet distance costs an eigenvalue problem per resample; this many give a steady interval.
SET_RESAMPLES = 200


@dataclass(frozen=True)
class Labels:
    """What was asked for, one row per key.

    Attributes:
        emotion: [N], index into `EMOTIONS`, -1 where the photo has no label.
        valence, arousal: [N] in [-1, 1], nan where there is none.
    """

    emotion: NDArray[np.intp]
    valence: Array
    arousal: Array

    def counts(self) -> dict[str, int]:
        """How often each emotion was asked for."""
        return {name: int((self.emotion == place).sum()) for place, name in enumerate(EMOTIONS)}


class Measurable(Protocol):
    """A number that can be had from any subset and resample of the pictures."""

    @property
    def usable(self) -> NDArray[np.bool_]:
        """[N], pictures that count."""
        ...

    def estimate(self, keep: NDArray[np.bool_], resamples: Indices) -> tuple[Estimate, Array]:
        """The number over the pictures kept, and its resamples (for differences)."""
        ...


@dataclass(frozen=True)
class PerPicture:
    """A statistic of columns that have one entry per picture, nan where it has none.

    `absent` says why no picture counts, should that be so; `share`: entries are 0 or 1.
    """

    statistic: Callable[..., Array]
    columns: tuple[Array, ...]
    absent: str
    share: bool = False

    @property
    def usable(self) -> NDArray[np.bool_]:
        """See `Measurable`."""
        return ~np.any([np.isnan(column) for column in self.columns], axis=0)

    def estimate(self, keep: NDArray[np.bool_], resamples: Indices) -> tuple[Estimate, Array]:
        """See `Measurable`."""
        count = int((keep & self.usable).sum())
        if count == 0:
            return Estimate(None, reason=self.absent), np.full(len(resamples), np.nan)
        columns = tuple(np.where(keep, column, np.nan) for column in self.columns)
        values = resample(self.statistic, columns, resamples)
        found = estimate(float(self.statistic(*columns)), values, count)
        if self.share and found.value in (0.0, 1.0) and count > 1:
            low, high = unanimous_interval(found.value, count)
            found = replace(found, low=low, high=high)
        return found, values


@dataclass(frozen=True)
class OfTheSet:
    """A distance of the whole set of features to a reference.

    `absent` says why there is no reference; `never_negative` is true of the Fréchet distance, not
    of the unbiased kernel distance.
    """

    reference: FrechetReference | KernelReference | None
    features: Array
    absent: str
    never_negative: bool = False

    @property
    def usable(self) -> NDArray[np.bool_]:
        """See `Measurable`."""
        return np.isfinite(self.features).all(axis=1)

    def estimate(self, keep: NDArray[np.bool_], resamples: Indices) -> tuple[Estimate, Array]:
        """See `Measurable`."""
        resamples = resamples[:SET_RESAMPLES]
        nothing = np.full(len(resamples), np.nan)
        rows = np.flatnonzero(keep & self.usable)
        if self.reference is None:
            return Estimate(None, n=len(rows), reason=self.absent), nothing
        if len(rows) < 2:
            return Estimate(None, n=len(rows), reason="needs at least two pictures"), nothing
        place = np.full(len(keep), -1)
        place[rows] = np.arange(len(rows))
        drawn = [row[row >= 0] for row in place[resamples]]
        features = self.features[rows]
        value = self.reference.distance(features)
        values = without_resampling_bias(value, self.reference.resampled(features, drawn))
        found = estimate(value, values, len(rows))
        if self.never_negative and found.low is not None:
            found = replace(found, low=max(0.0, found.low))
        return found, values


@dataclass(frozen=True)
class References:
    """The reference set's statistics, or why there are none."""

    frechet: FrechetReference | None
    kernel: KernelReference | None
    reason: str = ""


def catalogue(judge: str, perceptual: str) -> dict[str, tuple[Metric, str]]:
    """Every metric by name, with the instrument that measures it, in the order of the tables."""

    def metric(title: str, unit: str, better: str, digits: int, headline: bool = True) -> Metric:
        return Metric(title=title, unit=unit, better=better, headline=headline, digits=digits)

    found: dict[str, tuple[Metric, str]] = {}
    for k in (1, 2, 3):
        found[f"top{k}"] = (metric(f"Emotion Top-{k}", "share", "higher", 1), "judge")
    for name in ("valence", "arousal"):
        title = name.capitalize()
        found[f"{name}_ccc"] = (metric(f"{title} CCC", "", "higher", 3), "judge")
        found[f"{name}_rmse"] = (metric(f"{title} RMSE", "", "lower", 3), "judge")
        found[f"{name}_pcc"] = (metric(f"{title} PCC", "", "higher", 3, False), "judge")
        found[f"{name}_sagr"] = (metric(f"{title} SAGR", "share", "higher", 1, False), "judge")
    found["landmark_error"] = (metric("Landmarks off", "%", "lower", 2), "detector")
    found["face_found"] = (metric("Face found", "share", "higher", 1), "detector")
    found[f"frechet_{judge}"] = (metric(f"Fréchet ({judge})", "", "lower", 2), "judge")
    found[f"kernel_{judge}"] = (metric(f"Kernel distance ({judge})", "", "lower", 3), "judge")
    found[f"perceptual_{perceptual}"] = (
        metric(f"Perceptual ({perceptual})", "", "lower", 3),
        "perceptual",
    )
    for emotion in EMOTIONS:
        title = f"Recall, {emotion}"
        found[f"recall_{emotion}"] = (metric(title, "share", "higher", 1, False), "judge")
    return found


def measurables(
    readings: Readings, labels: Labels, references: References, judge: str, perceptual: str
) -> dict[str, Measurable]:
    """The metrics of `catalogue` over one set of pictures, by the same names."""
    valid = readings.valid
    ranks = np.full(len(valid), np.nan)
    ranks[valid] = recognition.asked_rank(readings.logits[valid], labels.emotion[valid])
    unlabelled = "no picture of the split has an emotion label"
    found: dict[str, Measurable] = {
        f"top{k}": PerPicture(agreement.mean, (recognition.within(ranks, k),), unlabelled, True)
        for k in (1, 2, 3)
    }
    for name in ("valence", "arousal"):
        pair = (getattr(readings, name), getattr(labels, name))
        absent = f"no picture of the split has a label for {name}"
        for suffix, statistic in (
            ("ccc", agreement.concordance),
            ("rmse", agreement.root_mean_square),
            ("pcc", agreement.pearson),
            ("sagr", agreement.sign_agreement),
        ):
            found[f"{name}_{suffix}"] = PerPicture(statistic, pair, absent)
    found["landmark_error"] = PerPicture(
        agreement.mean, (readings.landmark_error,), "no face was found on any picture"
    )
    found["face_found"] = PerPicture(
        agreement.mean, (readings.detected,), "no picture measured", True
    )
    features, reason = readings.features, references.reason
    found[f"frechet_{judge}"] = OfTheSet(references.frechet, features, reason, True)
    found[f"kernel_{judge}"] = OfTheSet(references.kernel, features, reason)
    found[f"perceptual_{perceptual}"] = PerPicture(
        agreement.mean, (readings.perceptual,), "these are the photos themselves"
    )
    for index, emotion in enumerate(EMOTIONS):
        hits = recognition.of_emotion(recognition.within(ranks, 1), labels.emotion, index)
        found[f"recall_{emotion}"] = PerPicture(
            agreement.mean, (hits,), f"no picture of the split asks for {emotion}", True
        )
    return found
