"""Action units that move though others were asked for, and how each follows what was asked of it.

Slopes are those of a regression of every read unit on all that were asked for at once, so that
units that labels tell together (as AU6 with AU12) are not counted twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sfe_core.arrays import Doubles
from sfe_core.evaluation.statistics import agreement
from sfe_core.evaluation.statistics.intervals import Estimate, estimate
from sfe_core.evaluation.statistics.resampling import Resamples, resample

# A regression per resample: as many give a steady interval.
LEAK_RESAMPLES = 200
# Intensities that vary less were asked for alike in all pictures.
_FLAT = 1e-9


@dataclass(frozen=True)
class Leakage:
    """What was read per asked unit.

    Attributes:
        slopes: [U, U], asked × read; the identity where units do as they are told. A row is nan
            where a unit was asked for alike in all pictures.
        unasked: of each asked unit, the mean of the others' slopes' sizes over its own slope.
    """

    slopes: Doubles
    unasked: list[Estimate]


def leakage(read: Doubles, asked: Doubles, resamples: Resamples) -> Leakage:
    """Slopes of all read units on all asked ones, and how much moves unasked.

    Args:
        read, asked: [N, U] intensities; pictures with a nan are left out.
        resamples: of the N pictures.
    """
    known = np.all(np.isfinite(np.concatenate([read, asked], axis=1)), axis=1)
    slopes = slopes_of(read[known], asked[known])
    # One place more, which is never kept, for `NOBODY`.
    kept = np.append(known, False)
    drawn = [row[kept[row]] for row in resamples.first(LEAK_RESAMPLES).drawn]
    again = np.stack([unasked_shares(slopes_of(read[rows], asked[rows])) for rows in drawn])
    whole, behind = unasked_shares(slopes), resamples.behind(known)
    return Leakage(
        slopes,
        [estimate(float(one), values, behind) for one, values in zip(whole, again.T, strict=True)],
    )


def slopes_of(read: Doubles, asked: Doubles) -> Doubles:
    """Least squares' slopes [A, R] of read units [N, R] on asked ones [N, A], all at once.

    A row is nan where a unit was not asked for in different strengths.
    """
    found = np.full((asked.shape[1], read.shape[1]), np.nan)
    if len(asked) < 2:
        return found
    varies = np.ptp(asked, axis=0) > _FLAT
    told = asked[:, varies] - asked[:, varies].mean(axis=0)
    if told.shape[1]:
        found[varies] = np.linalg.lstsq(told, read - read.mean(axis=0), rcond=_FLAT)[0]
    return found


def unasked_shares(slopes: Doubles) -> Doubles:
    """Of each asked unit [..., U]: the mean of the others' slopes' sizes over its own slope's.

    Args:
        slopes: [..., U, U], asked × read. Alone, a unit has no others: nan.
    """
    own = np.abs(np.diagonal(slopes, axis1=-2, axis2=-1))
    others = np.abs(slopes).sum(axis=-1) - own
    count = np.where(own > _FLAT, own, np.nan) * (slopes.shape[-1] - 1)
    return np.divide(others, count, out=np.full_like(own, np.nan), where=count > 0)


@dataclass(frozen=True)
class Grade:
    """What was read where about this much of a unit was asked for: the mean and its interval."""

    asked: float
    read: Estimate


def curve(read: Doubles, asked: Doubles, resamples: Resamples) -> list[Grade]:
    """The mean reading at each whole intensity asked for, rounded; none where none was asked.

    Args:
        read, asked: [N] intensities, nan where a picture does not count.
        resamples: of the N pictures.
    """
    there = np.isfinite(read) & np.isfinite(asked)
    grades = np.where(there, np.round(np.where(there, asked, 0.0)), np.nan)
    found = []
    for grade in np.unique(grades[there]):
        values = np.where(grades == grade, read, np.nan)
        again = resample(agreement.mean, (values,), resamples)
        behind = resamples.behind(grades == grade)
        found.append(Grade(float(grade), estimate(float(agreement.mean(values)), again, behind)))
    return found
