"""Evaluations of one recipe under several training seeds, on the same people, taken together."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sfe_core.evaluation.resampled import load_resampled
from sfe_core.evaluation.statistics.intervals import Estimate
from sfe_core.evaluation.statistics.pooling import Resampled, pooled
from sfe_core.evaluation.summary import EvaluationSummary, Metric, Score


@dataclass(frozen=True)
class Measured:
    """One number of every seed: [S] values, and what the bootstrap drew of each."""

    values: tuple[float, ...]
    resampled: tuple[Resampled, ...]

    def minus(self, other: Measured) -> Measured:
        """The difference to another number of the same seeds and people."""
        return self._with(other, lambda a, b: a - b, Resampled.minus)

    def plus(self, other: Measured) -> Measured:
        """The sum with another number of the same seeds and people."""
        return self._with(other, lambda a, b: a + b, Resampled.plus)

    def over(self, other: Measured) -> Measured:
        """The ratio to another number of the same seeds and people."""
        return self._with(other, lambda a, b: a / b if b else float("nan"), Resampled.over)

    def pooled(self) -> Estimate:
        """Over seeds and people, see `statistics.pooling.pooled`."""
        return pooled(self.values, self.resampled)

    def pooled_score(self, metric: Metric) -> Estimate:
        """The same of a metric's own values, within what it can be."""
        drawn = np.concatenate([one.values for one in self.resampled])
        bounds = (-math.inf, math.inf)
        if metric.better == "higher":  # shares, correlations and cosines, all of 1 at most
            bounds = (0.0 if metric.unit == "share" else -1.0, 1.0)
        elif not (drawn < 0.0).any():  # a kernel distance can be negative
            bounds = (0.0, math.inf)
        return pooled(self.values, self.resampled, metric.unit == "share", bounds)

    def _with(
        self,
        other: Measured,
        of_values: Callable[[float, float], float],
        of_resamples: Callable[[Resampled, Resampled], Resampled],
    ) -> Measured:
        pairs = zip(self.resampled, other.resampled, strict=True)
        return Measured(
            tuple(of_values(a, b) for a, b in zip(self.values, other.values, strict=True)),
            tuple(of_resamples(a, b) for a, b in pairs),
        )


class Pool:
    """The summaries [S] of one recipe, one a seed, with what their bootstraps drew."""

    def __init__(self, summaries: Sequence[EvaluationSummary]) -> None:
        self.summaries = tuple(summaries)
        self._resampled = [load_resampled(summary.folder) for summary in summaries]

    def has(self, pictures: str) -> bool:
        """Whether every seed has this set of pictures."""
        return all(pictures in summary.scores for summary in self.summaries)

    def scores(self, pictures: str, metric: str) -> list[Score]:
        """Of each seed that has the metric."""
        found = [summary.scores.get(pictures, {}).get(metric) for summary in self.summaries]
        return [score for score in found if score is not None]

    def values(self, pictures: str, metric: str) -> list[float]:
        """Of each seed that has a value."""
        scores = self.scores(pictures, metric)
        return [score.value for score in scores if score.value is not None]

    def measured(self, pictures: str, metric: str) -> Measured | None:
        """None where a seed lacks the value or its resamples."""
        values = self.values(pictures, metric)
        drawn = [kept.get(pictures, {}).get(metric) for kept in self._resampled]
        there = tuple(one for one in drawn if one is not None)
        whole = len(values) == len(there) == len(self.summaries)
        return Measured(tuple(values), there) if whole else None

    def score(self, pictures: str, metric: str) -> Score | None:
        """Pooled, with an interval over seeds and people; None where a seed lacks the metric.

        Where a seed has no value there is none, and no interval without resamples.
        """
        every, values = self.scores(pictures, metric), self.values(pictures, metric)
        if len(every) < len(self.summaries):
            return None
        if len(every) == 1 or len(values) < len(every):
            return next((score for score in every if score.value is None), every[0])
        measured = self.measured(pictures, metric)
        if measured is None:
            nothing = {"low": None, "high": None, "reason": "no interval: no resamples were kept"}
            return every[0].model_copy(update={"value": sum(values) / len(values)} | nothing)
        found = measured.pooled_score(self.summaries[0].metrics[metric])
        return every[0].model_copy(update=vars(found))
