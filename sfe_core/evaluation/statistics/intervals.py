"""How sure a number is: 95 % intervals from resamples, and of shares from their count as well.

Percentiles of a bootstrap over few units are too narrow: they use the normal's tails where
Student's belong, and a variance over K where K - 1 belongs. The tails are moved to make up for
both (the expanded percentile interval, Hesterberg 2015, "What teachers should know about the
bootstrap", section 5.2), which changes nothing visible beyond some fifty units.

A share's resamples vary little near 0 and 1, and not at all at them. Its interval is therefore the
union of two, each of which only ever moves up when a picture becomes right, so that their union
does, too:

- the percentiles of the resamples, which know how much people differ;
- Wilson's interval (1927), which is never empty, of the effective number of pictures: n over the
  design effect 1 + (m - 1) rho (Kish 1965) and over (t / z)², Student's quantile of K - 1 degrees
  of freedom against the normal's (Korn & Graubard 1998). An estimate of rho from the same hits
  would move the ends up and down as the hits change, and can say nothing where all are right: it
  is set to `CORRELATION`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import norm, t

from sfe_core.arrays import Doubles
from sfe_core.evaluation.statistics.resampling import Behind

COVERAGE = 0.95
# Resamples of fewer units are too few different ones to be an interval.
FEWEST = 3
# Between two pictures of one person, of whether they are right: low, as the eight emotions of one
# face are mostly right or wrong on their own. More is left to the resamples to show.
CORRELATION = 0.05


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval; `reason` says why one or the other is missing.

    `people`: how many were resampled; None where pictures were, as nobody on them is known.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    reason: str = ""
    people: int | None = None


def tail(units: int) -> float:
    """Share of resamples of `units` units that an interval leaves out on either side.

    Smaller than 2.5 %, and that for very many.
    """
    wide = float(t.isf((1.0 - COVERAGE) / 2.0, units - 1)) * math.sqrt(units / (units - 1))
    return float(norm.sf(wide))


def percentile_interval(
    values: Doubles, outside: float = (1.0 - COVERAGE) / 2.0
) -> tuple[float, float] | None:
    """Percentiles that leave out `outside` on either side; None if over half gave no number."""
    present = values[np.isfinite(values)]
    if len(present) == 0 or 2 * len(present) < len(values):
        return None
    low, high = np.quantile(present, (outside, 1.0 - outside))
    return float(low), float(high)


def estimate(
    value: float,
    resampled: Doubles,
    behind: Behind,
    share: bool = False,
    outside: float | None = None,
) -> Estimate:
    """Put a value and its resamples together; too few units give a value without interval.

    Percentiles of a skewed statistic can leave its value out: the interval then reaches to it.

    Args:
        value: of all pictures.
        resampled: [R] of the resamples, nan where one has none.
        behind: the pictures that were counted.
        share: it is the mean of numbers from 0 to 1.
        outside: share of resamples to leave out on either side; None = `tail` of the units.
    """
    found = Estimate(value, n=behind.pictures, people=behind.units if behind.by_people else None)
    if not math.isfinite(value):
        return replace(found, value=None, reason="undefined on these pictures: nothing varies")
    if behind.units < FEWEST:
        return replace(found, reason=f"no interval from fewer than {FEWEST} {behind.word}")
    interval = percentile_interval(resampled, tail(behind.units) if outside is None else outside)
    if interval is None:
        return replace(found, reason="no interval: most resamples are undefined")
    ends = [interval, (value, value)]
    if share:
        ends.append(wilson(value, effective_count(behind)))
    return _with(found, ends)


def estimate_of_change(
    value: float, resampled: Doubles, behind: Behind, turned: tuple[float, float] | None = None
) -> Estimate:
    """A difference and its interval, by the same rules.

    Args:
        value: of all pictures.
        resampled: [R] differences of the same resamples.
        behind: the pictures that count on both sides.
        turned: where it is one of shares, the shares of pictures that became right and wrong: the
            interval then holds that of the difference between both, from Wilson's (Newcombe 1998).
    """
    found = estimate(value, resampled, behind)
    if turned is None or found.low is None or found.high is None:
        return found
    count = effective_count(behind)
    (gained, lost), (most, least) = turned, [wilson(share, count) for share in turned]
    low = value - math.hypot(gained - most[0], least[1] - lost)
    high = value + math.hypot(most[1] - gained, lost - least[0])
    return _with(found, [(found.low, found.high), (max(low, -1.0), min(high, 1.0))])


def effective_count(behind: Behind) -> float:
    """How many independent pictures these are worth, for the interval of a share."""
    per_unit = behind.largest_share * behind.pictures
    design = 1.0 + (per_unit - 1.0) * CORRELATION
    outside = (1.0 - COVERAGE) / 2.0
    widening = float(t.isf(outside, behind.units - 1) / norm.isf(outside))
    return behind.pictures / (design * widening**2)


def wilson(share: float, count: float) -> tuple[float, float]:
    """95 % score interval of a share (Wilson 1927); `count` need not be whole."""
    squared = float(norm.isf((1.0 - COVERAGE) / 2.0)) ** 2
    centre = (share + squared / (2.0 * count)) / (1.0 + squared / count)
    half = math.sqrt(share * (1.0 - share) / count * squared + (squared / (2.0 * count)) ** 2)
    half /= 1.0 + squared / count
    # Rounding must not take 0 and 1 out of the interval of 0 and 1.
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def without_resampling_bias(value: float, resampled: Doubles) -> Doubles:
    """Shift resamples so that their mean is the value itself.

    Pictures drawn twice make a resample look narrower than the set, which lifts every resample of
    a Fréchet distance; the plain percentiles could then lie wholly above the value.
    """
    finite = resampled[np.isfinite(resampled)]
    return resampled if len(finite) == 0 else resampled - finite.mean() + value


def _with(found: Estimate, ends: list[tuple[float, float]]) -> Estimate:
    """With the union of intervals as its own."""
    return replace(found, low=min(low for low, _ in ends), high=max(high for _, high in ends))
