"""From readings to scores: every metric of every set, and each fine-tuned set against the base."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sfe_core.evaluation import recognition
from sfe_core.evaluation.intervals import Indices, estimate, mcnemar_exact
from sfe_core.evaluation.measuring import Instrument
from sfe_core.evaluation.metrics import Labels, Measurable, PerPicture
from sfe_core.evaluation.readings import Readings
from sfe_core.evaluation.summary import Delta, Metric, PairedTest, Score


@dataclass(frozen=True)
class Scoreboard:
    """All numbers: variant → metric → score; deltas and tests are against the base."""

    scores: dict[str, dict[str, Score]]
    deltas: dict[str, dict[str, Delta]]
    tests: dict[str, PairedTest]
    confusion: dict[str, list[list[int]]]


def score_all(
    sets: Mapping[str, Mapping[str, Measurable]],
    readings: Mapping[str, Readings],
    labels: Labels,
    metrics: Mapping[str, tuple[Metric, str]],
    instruments: Mapping[str, Instrument],
    resamples: Indices,
) -> Scoreboard:
    """Score every variant of `sets` (variant → metric → what to measure).

    All variants share the resamples, so that a difference is resampled picture by picture.
    """
    scores, deltas, tests = {}, {}, {}
    for variant, measured in sets.items():
        everything = np.ones(len(readings[variant].keys), dtype=bool)
        scores[variant] = {
            name: _score(measured[name], everything, resamples, instruments[instrument])
            for name, (_, instrument) in metrics.items()
        }
    for variant in sets:
        if variant in ("base", "real") or "base" not in sets:
            continue
        deltas[variant] = {
            name: _delta(sets["base"][name], sets[variant][name], resamples) for name in metrics
        }
        test = _top1_test(sets["base"]["top1"], sets[variant]["top1"])
        if test is not None:
            tests[variant] = test
    confusion = {
        variant: recognition.confusion(read.logits[read.valid], labels.emotion[read.valid]).tolist()
        for variant, read in readings.items()
    }
    return Scoreboard(scores, deltas, tests, confusion)


def _score(
    measurable: Measurable, keep: np.ndarray, resamples: Indices, instrument: Instrument
) -> Score:
    found, _ = measurable.estimate(keep, resamples)
    return Score(**vars(found), **vars(instrument))


def _delta(base: Measurable, other: Measurable, resamples: Indices) -> Delta:
    """`other` minus `base` over the pictures that count in both."""
    common = base.usable & other.usable
    first, first_values = base.estimate(common, resamples)
    second, second_values = other.estimate(common, resamples)
    if first.value is None or second.value is None:
        reason = first.reason or second.reason
        return Delta(value=None, low=None, high=None, n=second.n, reason=reason)
    found = estimate(second.value - first.value, second_values - first_values, second.n)
    return Delta(**vars(found))


def _top1_test(base: Measurable, other: Measurable) -> PairedTest | None:
    """None where no picture has an emotion label."""
    if not (isinstance(base, PerPicture) and isinstance(other, PerPicture)):
        return None
    if not (base.usable & other.usable).any():
        return None
    return PairedTest(**vars(mcnemar_exact(base.columns[0], other.columns[0])))
