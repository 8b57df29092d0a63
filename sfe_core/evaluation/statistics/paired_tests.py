"""Whether the same pictures differ from one set to another: exact, and by sign flips of people."""

from __future__ import annotations

import numpy as np
from scipy.stats import binomtest, permutation_test, wilcoxon

from sfe_core.arrays import Doubles, Indices
from sfe_core.evaluation.statistics.resampling import MEMORY_NUMBERS
from sfe_core.evaluation.summary import PairedTest

MCNEMAR, WILCOXON, FLIPS = "McNemar exact", "Wilcoxon signed rank", "sign flips of people"
# Up to 13 people all flips are tried; of more, this many at random.
_FLIPS = 9999


def compare_shares(first: Doubles, second: Doubles, unit: Indices | None) -> PairedTest:
    """Compare 0/1 series of the same pictures.

    By McNemar's test where pictures are independent: 1947, exact binomial form.

    Args:
        first, second: [N] of 0.0 and 1.0; pairs with a nan are left out.
        unit: [N] whose picture each is; None = nobody is known, each stands for itself.
    """
    known = ~(np.isnan(first) | np.isnan(second))
    gained = int(((first == 0) & (second == 1) & known).sum())
    lost = int(((first == 1) & (second == 0) & known).sum())
    if unit is not None:
        p_value = sign_flips(first, second, unit)
        return PairedTest(
            gained=gained, lost=lost, p_value=1.0 if p_value is None else p_value, test=FLIPS
        )
    changed = gained + lost
    p_value = float(binomtest(gained, changed).pvalue) if changed else 1.0
    return PairedTest(gained=gained, lost=lost, p_value=p_value, test=MCNEMAR)


def compare_numbers(
    first: Doubles, second: Doubles, unit: Indices | None
) -> tuple[float | None, str]:
    """Two-sided p-value that paired numbers do not differ, and the name of the test.

    Args: see `compare_shares`.
    """
    if unit is not None:
        return sign_flips(first, second, unit), FLIPS
    return wilcoxon_signed_rank(first, second), WILCOXON


def sign_flips(first: Doubles, second: Doubles, unit: Indices) -> float | None:
    """Two-sided p-value that paired numbers do not differ, were each person's sides exchangeable.

    The sum of all changes is held against its sums when the changes of each person, together, keep
    or change their sign (Fisher 1935; by clusters, Winkler et al. 2015, "whole-block" flips). Of
    0/1 series with a picture a person it is McNemar's exact test. None without a pair.

    Args:
        first, second: [N]; pairs with a nan are left out.
        unit: [N] whose picture each is.
    """
    known = np.isfinite(first) & np.isfinite(second)
    if not known.any():
        return None
    change = np.bincount(unit[known], weights=(second - first)[known])
    change = change[change != 0.0]  # flips nothing
    if len(change) < 2:
        return 1.0  # both signs of one are equally far off
    found = permutation_test(
        (change,),
        lambda sample, axis: sample.sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=_FLIPS,
        batch=max(1, MEMORY_NUMBERS // len(change)),
        rng=np.random.default_rng(len(change)),
    )
    return float(found.pvalue)


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
