"""Single numbers of a protocol, each with its interval, outside of the table of metrics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sfe_core.arrays import Doubles
from sfe_core.evaluation.scoring import delta_of
from sfe_core.evaluation.statistics import agreement
from sfe_core.evaluation.statistics.measurables import PerPicture
from sfe_core.evaluation.statistics.resampling import Resamples
from sfe_core.evaluation.summary import Interval

_ABSENT = "no picture was read"


@dataclass(frozen=True)
class Numbers:
    """Numbers with their 95 % intervals, of the same resamples."""

    resamples: Resamples

    def mean(self, values: Doubles, share: bool = False) -> Interval:
        """Of what was read; `share`: values lie from 0 to 1."""
        return self.of(agreement.mean, values, share=share)

    def of(
        self, statistic: Callable[..., Doubles], *columns: Doubles, share: bool = False
    ) -> Interval:
        """Any statistic of columns."""
        measured = PerPicture(statistic, columns, _ABSENT, share)
        found, _ = measured.estimate(np.ones(len(columns[0]), dtype=bool), self.resamples)
        return Interval(value=found.value, low=found.low, high=found.high, n=found.n)

    def change(self, before: Doubles, after: Doubles) -> Interval:
        """Difference of two shares over the same pictures."""
        one, other = (
            PerPicture(agreement.mean, (values,), _ABSENT, True) for values in (before, after)
        )
        found = delta_of(one, other, self.resamples)
        return Interval(value=found.value, low=found.low, high=found.high, n=found.n)
