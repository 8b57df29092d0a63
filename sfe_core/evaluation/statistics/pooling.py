"""One number from several training seeds, each measured on the same people.

Two things vary: which people are on the pictures, and which seed a model was trained with. The
bootstrap draws both (Davison & Hinkley 1997, section 3.8; of crossed factors, Owen 2007, "The
pigeonhole bootstrap"): every resample holds people, drawn the same for all seeds, and of these the
mean over seeds drawn with replacement.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, t

from sfe_core.arrays import Doubles
from sfe_core.evaluation.statistics.intervals import COVERAGE, Estimate, estimate
from sfe_core.evaluation.statistics.resampling import Behind
from sfe_core.files import derive_seed


@dataclass(frozen=True)
class Resampled:
    """[R] values of one number, resample by resample, and what stands behind it."""

    values: Doubles
    behind: Behind

    def minus(self, other: Resampled) -> Resampled:
        """The difference to what was drawn in the same resamples."""
        return self._with(other, np.subtract)

    def plus(self, other: Resampled) -> Resampled:
        """The sum with what was drawn in the same resamples."""
        return self._with(other, np.add)

    def over(self, other: Resampled) -> Resampled:
        """The ratio to what was drawn in the same resamples; nan over zero."""
        return self._with(
            other, lambda a, b: np.divide(a, b, out=np.full_like(a, np.nan), where=b != 0.0)
        )

    def _with(self, other: Resampled, how: Callable[[Doubles, Doubles], Doubles]) -> Resampled:
        count = min(len(self.values), len(other.values))
        fewer = min(self.behind, other.behind, key=lambda one: one.pictures)
        return Resampled(how(self.values[:count], other.values[:count]), fewer)


def pooled(
    values: Sequence[float],
    resampled: Sequence[Resampled],
    share: bool = False,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Estimate:
    """The mean over seeds with its 95 % interval over people and seeds.

    Of few seeds a spread is known badly: deviations are stretched by Student's quantile against the
    normal's, with the degrees of freedom of a sum of two variances (Satterthwaite 1946), K - 1 of
    people and S - 1 of seeds. Of one seed it is what `estimate` gives: nothing is said of others.

    Args:
        values: [S] of each seed.
        resampled: [S] of each seed, all from the same resamples.
        share: each is the mean of numbers from 0 to 1.
        bounds: no such number is lower or higher.
    """
    value, seeds = float(np.mean(values)), len(values)
    behind = min((one.behind for one in resampled), key=lambda one: one.pictures)
    length = min(len(one.values) for one in resampled)
    of_seeds = np.stack([one.values[:length] for one in resampled])
    over_people = of_seeds.mean(axis=0)
    if seeds == 1 or behind.units < 2 or not np.isfinite(over_people).any():
        return estimate(value, over_people, behind, share)
    random = np.random.default_rng(derive_seed("pooled", seeds, length) % 2**32)
    chosen = random.integers(0, seeds, of_seeds.shape)
    drawn = np.take_along_axis(of_seeds, chosen, axis=0).mean(axis=0)
    # A bootstrap over n has (n - 1) / n of the variance.
    moved = math.sqrt(seeds / (seeds - 1)) * (drawn - over_people)
    people_part = math.sqrt(behind.units / (behind.units - 1)) * (over_people - value)
    stretch = _stretch(np.asarray(values, dtype=np.float64), over_people, behind.units)
    spread = value + stretch * (people_part + moved)
    spread = np.clip(spread, *bounds)
    return estimate(value, spread, behind, share, outside=(1.0 - COVERAGE) / 2.0)


def _stretch(values: Doubles, over_people: Doubles, units: int) -> float:
    """Student's 97.5 % quantile over the normal's, for people and seeds together."""
    seeds = len(values)
    people_variance = float(np.nanvar(over_people)) * units / (units - 1)
    seeds_variance = float(values.var(ddof=1)) / seeds
    weight = people_variance**2 / (units - 1) + seeds_variance**2 / (seeds - 1)
    if weight == 0.0:
        return 1.0
    freedom = (people_variance + seeds_variance) ** 2 / weight
    outside = (1.0 - COVERAGE) / 2.0
    return float(t.isf(outside, freedom) / norm.isf(outside))
