"""Agreement of a reading with a label on a continuous scale: CCC, PCC, RMSE, SAGR, slope, F1.

Every function takes two arrays whose last axis is the pictures and reduces that axis, so that a
thousand resamples are one call. Pictures with a nan on either side are left out.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from sfe_core.arrays import Doubles


def concordance(read: Doubles, asked: Doubles) -> Doubles:
    """Lin's concordance correlation (1989), in [-1, 1]; nan where neither side varies.

    2 cov / (var_read + var_asked + (mean_read - mean_asked)^2), population moments as in the paper.
    """
    mean_r, mean_a, var_r, var_a, covariance = _moments(read, asked)
    return _divide(2.0 * covariance, var_r + var_a + (mean_r - mean_a) ** 2)


def pearson(read: Doubles, asked: Doubles) -> Doubles:
    """Pearson's correlation, in [-1, 1]; nan where one side does not vary."""
    _, _, var_r, var_a, covariance = _moments(read, asked)
    return _divide(covariance, np.sqrt(var_r * var_a))


def pooled_pearson(*columns: Doubles) -> Doubles:
    """Pearson's correlation of several numbers at once, each less its own mean, in [-1, 1].

    A number that varies more weighs more; means, in which numbers differ from each other, do not
    count. nan where nothing varies.

    Args:
        columns: what is read of each number, then what was asked of each, in the same order.
    """
    half = len(columns) // 2
    pairs = zip(columns[:half], columns[half:], strict=True)
    _, _, var_r, var_a, covariance = np.sum([_moments(*pair) for pair in pairs], axis=0)
    return _divide(covariance, np.sqrt(var_r * var_a))


def spearman(read: Doubles, asked: Doubles) -> Doubles:
    """Spearman's rank correlation, in [-1, 1]; nan where one side does not vary."""
    read, asked = _paired(read, asked)
    missing = np.isnan(read)
    ranks = (rankdata(np.where(missing, np.inf, one), axis=-1) for one in (read, asked))
    return pearson(*(np.where(missing, np.nan, one) for one in ranks))


def slope(read: Doubles, asked: Doubles) -> Doubles:
    """Least squares' slope of what is read on what was asked; nan where all was asked alike."""
    _, _, _, var_a, covariance = _moments(read, asked)
    return _divide(covariance, var_a)


def mean_square(read: Doubles, asked: Doubles) -> Doubles:
    """Mean squared difference, in the scale's own unit squared."""
    read, asked = _paired(read, asked)
    return _mean((read - asked) ** 2)


def f1(read: Doubles, asked: Doubles) -> Doubles:
    """F1 of 0 and 1 read against 0 and 1 asked (van Rijsbergen 1979), in [0, 1].

    2 TP / (2 TP + FP + FN); nan where nothing is there on either side.
    """
    read, asked = _paired(read, asked)
    known = ~np.isnan(read)
    both = np.where(known, read * asked, 0.0).sum(axis=-1)
    either = np.where(known, read + asked, 0.0).sum(axis=-1)
    return _divide(2.0 * both, either)


def root_mean_square(read: Doubles, asked: Doubles) -> Doubles:
    """Root of the mean squared difference, in the scale's own unit."""
    return np.sqrt(mean_square(read, asked))


def sign_agreement(read: Doubles, asked: Doubles) -> Doubles:
    """Share of pictures read on the asked side of zero (SAGR, Nicolaou et al. 2011), in [0, 1]."""
    read, asked = _paired(read, asked)
    same = np.where(np.isnan(read), np.nan, (np.sign(read) == np.sign(asked)).astype(float))
    return _mean(same)


def mean(values: Doubles) -> Doubles:
    """Mean over the last axis without nan; nan where nothing is left."""
    return _mean(np.asarray(values, dtype=np.float64))


def _moments(read: Doubles, asked: Doubles) -> tuple[Doubles, Doubles, Doubles, Doubles, Doubles]:
    read, asked = _paired(read, asked)
    mean_r, mean_a = _mean(read), _mean(asked)
    gap_r, gap_a = read - mean_r[..., None], asked - mean_a[..., None]
    return mean_r, mean_a, _mean(gap_r**2), _mean(gap_a**2), _mean(gap_r * gap_a)


def _paired(read: Doubles, asked: Doubles) -> tuple[Doubles, Doubles]:
    read, asked = np.asarray(read, dtype=np.float64), np.asarray(asked, dtype=np.float64)
    missing = np.isnan(read) | np.isnan(asked)
    return np.where(missing, np.nan, read), np.where(missing, np.nan, asked)


def _mean(values: Doubles) -> Doubles:
    present = ~np.isnan(values)
    return _divide(np.where(present, values, 0.0).sum(axis=-1), present.sum(axis=-1))


def _divide(above: Doubles, below: Doubles) -> Doubles:
    above, below = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    # Rounding leaves a variance of some 1e-34 where all values are equal; that is none.
    usable = below > 1e-24
    return np.where(usable, above / np.where(usable, below, 1.0), np.nan)
