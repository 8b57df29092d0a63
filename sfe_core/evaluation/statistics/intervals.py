"""How sure a number is: percentile bootstrap over pictures, and the exact paired test."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv
from scipy.stats import binomtest, wilcoxon

from sfe_core.arrays import Doubles, Indices
from sfe_core.evaluation.summary import PairedTest

COVERAGE = 0.95
# Resamples of fewer pictures are too few different ones to be an interval.
FEWEST = 3
MEMORY_NUMBERS = 4_000_000


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval; `reason` says why one or the other is missing."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    reason: str = ""


def draw_resamples(count: int, resamples: int, seed: int) -> Indices:
    """[R, N] indices drawn with replacement (Efron 1979), a function of the seed alone."""
    generator = np.random.Generator(np.random.PCG64(seed))
    return generator.integers(0, max(count, 1), size=(resamples, count), dtype=np.intp)


def resample(
    statistic: Callable[..., Doubles], columns: tuple[Doubles, ...], resamples: Indices
) -> Doubles:
    """[R] values of `statistic(*columns)`, which reduces the last axis, in bounded memory."""
    rows = max(1, MEMORY_NUMBERS // max(resamples.shape[1], 1))
    parts = [
        np.asarray(statistic(*(column[block] for column in columns)))
        for block in (resamples[i : i + rows] for i in range(0, len(resamples), rows))
    ]
    return np.concatenate(parts)


def percentile_interval(values: Doubles) -> tuple[float, float] | None:
    """2.5th and 97.5th percentile; None if over half of the resamples gave no number."""
    present = values[np.isfinite(values)]
    if len(present) == 0 or 2 * len(present) < len(values):
        return None
    tail = (1.0 - COVERAGE) / 2.0
    low, high = np.quantile(present, (tail, 1.0 - tail))
    return float(low), float(high)


def estimate(value: float, resampled: Doubles, n: int, share: bool = False) -> Estimate:
    """Put a value and its resamples together; too few pictures give a value without interval.

    A `share` of 0 or 1, of which no resample varies, has its exact interval.

    Percentiles of a skewed statistic can leave its value out: the interval then reaches to it.
    """
    if not math.isfinite(value):
        return Estimate(None, n=n, reason="undefined on these pictures: nothing varies")
    if n < FEWEST:
        return Estimate(value, n=n, reason=f"no interval from fewer than {FEWEST} pictures")
    if share and value in (0.0, 1.0):
        return Estimate(value, *unanimous_interval(value, n), n=n)
    interval = percentile_interval(resampled)
    if interval is None:
        return Estimate(value, n=n, reason="no interval: most resamples are undefined")
    low, high = interval
    return Estimate(value, min(low, value), max(high, value), n=n)


def without_resampling_bias(value: float, resampled: Doubles) -> Doubles:
    """Shift resamples so that their mean is the value itself.

    Pictures drawn twice make a resample look narrower than the set, which lifts every resample of
    a Fréchet distance; the plain percentiles could then lie wholly above the value.
    """
    finite = resampled[np.isfinite(resampled)]
    return resampled if len(finite) == 0 else resampled - finite.mean() + value


def unanimous_interval(share: float, n: int) -> tuple[float, float]:
    """Exact 95 % interval of a share of 0 or 1 (Clopper & Pearson 1934), where no resample varies.

    At n out of n the lower end is the 2.5 % quantile of Beta(n, 1); nothing out of n is the mirror
    image. (`binomtest` searches for the same ends, and stops ten digits in.)
    """
    far_end = float(betaincinv(n, 1.0, (1.0 - COVERAGE) / 2.0))
    return (far_end, 1.0) if share == 1.0 else (0.0, 1.0 - far_end)


def mcnemar_exact(first: Doubles, second: Doubles) -> PairedTest:
    """Compare 0/1 series of the same pictures (McNemar 1947, exact binomial form).

    Args:
        first, second: [N] of 0.0 and 1.0; pairs with a nan are left out.
    """
    known = ~(np.isnan(first) | np.isnan(second))
    gained = int(((first == 0) & (second == 1) & known).sum())
    lost = int(((first == 1) & (second == 0) & known).sum())
    changed = gained + lost
    p_value = float(binomtest(gained, changed).pvalue) if changed else 1.0
    return PairedTest(gained=gained, lost=lost, p_value=p_value)


def wilcoxon_signed_rank(first: Doubles, second: Doubles) -> float | None:
    """Two-sided p-value that paired numbers do not differ (Wilcoxon 1945), by scipy.

    Exact for few pairs without ties, else by the normal approximation; pairs that are equal take
    their ranks along (Pratt 1959). None where no pair has two numbers.

    Args:
        first, second: [N]; pairs with a nan are left out.
    """
    known = np.isfinite(first) & np.isfinite(second)
    change = second[known] - first[known]
    if len(change) == 0:
        return None
    if not change.any():
        return 1.0
    return float(wilcoxon(change, zero_method="pratt").pvalue)
