"""Numbers that can be had from any subset and resample of the pictures, and tested in pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from sfe_core.arrays import Doubles, Mask
from sfe_core.evaluation.statistics import agreement
from sfe_core.evaluation.statistics.distances import FrechetReference, KernelReference
from sfe_core.evaluation.statistics.intervals import (
    FEWEST,
    Estimate,
    estimate,
    without_resampling_bias,
)
from sfe_core.evaluation.statistics.manifold import SMALLEST, ManifoldReference
from sfe_core.evaluation.statistics.paired_tests import compare_numbers, compare_shares
from sfe_core.evaluation.statistics.resampling import Resamples, draw_resamples, resample
from sfe_core.files import derive_seed

# A Fréchet distance costs an eigenvalue problem per resample; this many give a steady interval.
SET_RESAMPLES = 200
# Of problems beyond this size each takes seconds: a quarter of the resamples has to do.
LARGE_PROBLEM = 1000


class Measurable(Protocol):
    """A number that can be had from any subset and resample of the pictures."""

    @property
    def usable(self) -> Mask:
        """[N], pictures that count."""
        ...

    def estimate(self, keep: Mask, resamples: Resamples) -> tuple[Estimate, Doubles]:
        """The number over the pictures kept, and its resamples (for differences)."""
        ...

    def paired(self, other: Measurable, resamples: Resamples) -> tuple[float | None, str]:
        """Two-sided p-value that `other` is no different on the same pictures, and the test's name.

        By people where `resamples` are. (None, "") where pictures have no number of their own; the
        interval has to do.
        """
        ...


@dataclass(frozen=True)
class PerPicture:
    """A statistic of columns that have one entry per picture, nan where it has none.

    `absent` says why no picture counts, should that be so; `share`: entries are 0 or 1.
    """

    statistic: Callable[..., Doubles]
    columns: tuple[Doubles, ...]
    absent: str
    share: bool = False

    @property
    def usable(self) -> Mask:
        """See `Measurable`."""
        return ~np.any([np.isnan(column) for column in self.columns], axis=0)

    def estimate(self, keep: Mask, resamples: Resamples) -> tuple[Estimate, Doubles]:
        """See `Measurable`."""
        count = int((keep & self.usable).sum())
        if count == 0:
            return Estimate(None, reason=self.absent), np.full(len(resamples), np.nan)
        columns = tuple(np.where(keep, column, np.nan) for column in self.columns)
        values = resample(self.statistic, columns, resamples)
        behind = resamples.behind(keep & self.usable)
        return estimate(float(self.statistic(*columns)), values, behind, self.share), values

    def paired(self, other: Measurable, resamples: Resamples) -> tuple[float | None, str]:
        """See `Measurable`."""
        if not isinstance(other, PerPicture) or self.statistic is not agreement.mean:
            return None, ""
        first, second = self.columns[0], other.columns[0]
        if not (self.usable & other.usable).any():
            return None, ""
        if self.share:
            found = compare_shares(first, second, resamples.people)
            return found.p_value, found.test
        return compare_numbers(first, second, resamples.people)

    def turned(self, other: Measurable) -> tuple[float, float] | None:
        """Shares of pictures wrong here and right in `other`, and the other way round.

        None where entries are not right or wrong.
        """
        if not (isinstance(other, PerPicture) and self.share and other.share):
            return None
        change = other.columns[0] - self.columns[0]
        change = change[~np.isnan(change)]
        return (float((change > 0).mean()), float((change < 0).mean())) if len(change) else None


@dataclass(frozen=True)
class OverUnits(PerPicture):
    """A statistic over several things asked for; a picture counts if it has numbers of any.

    `each`: columns of one thing, which stand together.
    """

    each: int = 1

    @property
    def usable(self) -> Mask:
        """See `Measurable`."""
        missing = np.isnan(np.stack(self.columns))
        groups = missing.reshape(-1, self.each, missing.shape[-1])
        return ~np.all(np.any(groups, axis=1), axis=0)


@dataclass(frozen=True)
class _OfFeatures:
    """What is had from the features [N, D] of a whole set; `absent`: why there is no reference."""

    features: Doubles
    absent: str

    @property
    def usable(self) -> Mask:
        """See `Measurable`."""
        return np.all(np.isfinite(self.features), axis=1)

    def paired(self, other: Measurable, resamples: Resamples) -> tuple[float | None, str]:
        """See `Measurable`."""
        del other, resamples
        return None, ""


@dataclass(frozen=True)
class OfTheSet(_OfFeatures):
    """A distance of the whole set of features to a reference.

    `never_negative` is true of the Fréchet distance, not of the unbiased kernel distance.
    """

    reference: FrechetReference | KernelReference | None
    never_negative: bool = False

    def estimate(self, keep: Mask, resamples: Resamples) -> tuple[Estimate, Doubles]:
        """See `Measurable`."""
        resamples = resamples.first(_affordable(self.features))
        nothing = np.full(len(resamples), np.nan)
        rows = np.flatnonzero(keep & self.usable)
        if self.reference is None:
            return Estimate(None, n=len(rows), reason=self.absent), nothing
        if len(rows) < 2:
            return Estimate(None, n=len(rows), reason="needs at least two pictures"), nothing
        behind = resamples.behind(keep & self.usable)
        if behind.units < FEWEST:
            value = self.reference.distance(self.features[rows])
            return estimate(value, nothing, behind), nothing
        # One place more, which is never kept, for `NOBODY`.
        place = np.full(len(keep) + 1, -1)
        place[rows] = np.arange(len(rows))
        drawn = [row[row >= 0] for row in place[resamples.drawn]]
        features = self.features[rows]
        value = self.reference.distance(features)
        values = without_resampling_bias(value, self.reference.resampled(features, drawn))
        if self.never_negative:
            values = np.maximum(values, 0.0)
        return estimate(value, values, behind), values


@dataclass(frozen=True)
class OfTheReference(_OfFeatures):
    """The share of the reference's photos that lie in the set's manifold: recall.

    Resampled over the reference's people, the set held fixed: pictures that are drawn twice by a
    resample would shrink the set's manifold, which its own resamples could only underestimate.
    `people`: [M] who is on each photo of the reference, see `draw_resamples`.
    """

    reference: ManifoldReference | None
    people: np.ndarray | None = None

    def estimate(self, keep: Mask, resamples: Resamples) -> tuple[Estimate, Doubles]:
        """See `Measurable`."""
        rows = np.flatnonzero(keep & self.usable)
        nothing = np.full(len(resamples), np.nan)
        if self.reference is None:
            return Estimate(None, n=len(rows), reason=self.absent), nothing
        if len(rows) < SMALLEST:
            reason = f"needs at least {SMALLEST} pictures"
            return Estimate(None, n=len(rows), reason=reason), nothing
        held = self.reference.held_by(self.features[rows])
        seed = derive_seed("reference", len(held)) % 2**32
        drawn = draw_resamples(len(held), len(resamples), seed, self.people)
        values = resample(agreement.mean, (held,), drawn)
        behind = drawn.behind(np.ones(len(held), dtype=bool))
        found = estimate(float(held.mean()), values, behind, share=True)
        return replace(found, n=len(rows)), values


def _affordable(features: Doubles) -> int:
    return SET_RESAMPLES if min(features.shape) <= LARGE_PROBLEM else SET_RESAMPLES // 4
