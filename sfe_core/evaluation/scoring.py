"""From readings to scores: every metric of every set, and each set against the baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sfe_core.evaluation.definitions import Definition, definitions
from sfe_core.evaluation.instruments.probes import Instrument
from sfe_core.evaluation.readings import Readings
from sfe_core.evaluation.statistics.calibration import recognition_result
from sfe_core.evaluation.statistics.intervals import estimate_of_change
from sfe_core.evaluation.statistics.measurables import Measurable, PerPicture
from sfe_core.evaluation.statistics.paired_tests import compare_shares
from sfe_core.evaluation.statistics.pooling import Resampled
from sfe_core.evaluation.statistics.resampling import Resamples
from sfe_core.evaluation.summary import (
    REAL,
    Delta,
    Metric,
    PairedTest,
    RecogniserResult,
    Score,
)
from sfe_core.evaluation.yardstick import Yardstick

PREFERRED_BASELINE = "base"


@dataclass(frozen=True)
class Scoreboard:
    """All numbers, by the names that summary.json gives them; deltas are against `baseline`.

    `resampled`, which it does not hold: set, then metric.
    """

    metrics: dict[str, Metric]
    scores: dict[str, dict[str, Score]]
    baseline: str
    deltas: dict[str, dict[str, Delta]]
    tests: dict[str, PairedTest]
    baselines: dict[str, dict[str, float]]
    confusion: dict[str, list[list[int]]]
    recognitions: dict[str, RecogniserResult]
    resampled: dict[str, dict[str, Resampled]]


def score_all(
    readings: Mapping[str, Readings],
    yardstick: Yardstick,
    instruments: Mapping[str, Instrument],
    resamples: Resamples,
) -> Scoreboard:
    """Score every set of `readings` (set → what was read off it).

    All sets share the resamples, so that a difference is resampled person by person.

    Args:
        yardstick: what they are held against; its photos are those of set real.
        resamples: see `draw_resamples`.
    """
    defined = definitions(yardstick)
    sets = {
        name: {metric: one.of(read, name) for metric, one in defined.items()}
        for name, read in readings.items()
    }
    baseline = _baseline(list(sets))
    compared = [name for name in sets if baseline and name not in (baseline, REAL)]
    tests = {
        name: _top1_test(sets[baseline]["top1"], sets[name]["top1"], resamples) for name in compared
    }
    recognitions = {
        recogniser: recognition_result(
            {name: read.column(recogniser, "logits") for name, read in readings.items()},
            yardstick.labels.emotion,
        )
        for recogniser in yardstick.photos.recognisers
    }
    found = {
        name: {m: score_of(measured[m], one, resamples, instruments) for m, one in defined.items()}
        for name, measured in sets.items()
    }
    return Scoreboard(
        metrics={name: definition.metric for name, definition in defined.items()},
        scores={name: {m: score for m, (score, _) in of.items()} for name, of in found.items()},
        baseline=baseline,
        deltas={
            name: {m: delta_of(sets[baseline][m], sets[name][m], resamples) for m in defined}
            for name in compared
        },
        tests={name: test for name, test in tests.items() if test is not None},
        baselines={name: levels for name, one in defined.items() if (levels := one.levels)},
        confusion=recognitions[yardstick.photos.recognisers[0]].confusion,
        recognitions=recognitions,
        resampled={name: {m: kept for m, (_, kept) in of.items()} for name, of in found.items()},
    )


def _baseline(names: list[str]) -> str:
    """The set that the others are held against: base, else the first that is not the photos."""
    drawn = [name for name in names if name != REAL]
    if PREFERRED_BASELINE in drawn:
        return PREFERRED_BASELINE
    return drawn[0] if len(drawn) > 1 else ""


def score_of(
    measured: Measurable,
    definition: Definition,
    resamples: Resamples,
    instruments: Mapping[str, Instrument],
) -> tuple[Score, Resampled]:
    """A metric over all pictures of a set, and what the bootstrap drew of it."""
    tool = instruments[definition.metric.instrument]
    everything = np.ones(len(measured.usable), dtype=bool)
    found, values = measured.estimate(everything, resamples)
    of = {"backend": tool.backend, "weights_sha256": tool.weights_sha256, "resize": tool.resize}
    return Score(**vars(found), **of), Resampled(values, resamples.behind(measured.usable))


def delta_of(base: Measurable, other: Measurable, resamples: Resamples) -> Delta:
    """`other` minus `base` over the pictures that count in both."""
    common = base.usable & other.usable
    first, first_values = base.estimate(common, resamples)
    second, second_values = other.estimate(common, resamples)
    if first.value is None or second.value is None:
        reason = first.reason or second.reason
        return Delta(value=None, low=None, high=None, n=second.n, reason=reason)
    found = estimate_of_change(
        second.value - first.value,
        second_values - first_values,
        resamples.behind(common),
        base.turned(other) if isinstance(base, PerPicture) else None,
    )
    p_value, test = base.paired(other, resamples)
    return Delta(**vars(found), p_value=p_value, test=test)


def _top1_test(base: Measurable, other: Measurable, resamples: Resamples) -> PairedTest | None:
    """None where no picture has an emotion label."""
    assert isinstance(base, PerPicture)
    assert isinstance(other, PerPicture)
    if not (base.usable & other.usable).any():
        return None
    return compare_shares(base.columns[0], other.columns[0], resamples.people)
