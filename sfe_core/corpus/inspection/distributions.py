"""How the numbers of a corpus spread: histograms whose ends take what lies beyond."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

BINS = 36
# Ends of the axis: this share of the values on either side falls into the outermost bins.
_TAIL = 0.005


@dataclass(frozen=True)
class Histogram:
    """One number's distribution.

    Attributes:
        name, title, unit: what is counted.
        heights: [BINS] share of the fullest bin, in [0, 1]; empty where all values are alike.
        counts: [BINS], or empty.
        edges: [BINS + 1] ends of the bins, or empty.
        low, middle, high: 5th, 50th and 95th percentile.
        least, most: the extremes.
        known: how many have this number.
        marks: where limits lie on the axis, in [0, 1]; those beyond it are left out.
    """

    name: str
    title: str
    unit: str
    heights: list[float]
    counts: list[int]
    edges: list[float]
    low: float
    middle: float
    high: float
    least: float
    most: float
    known: int
    marks: list[float]


def histogram(
    name: str,
    title: str,
    unit: str,
    values: ArrayLike,
    limits: tuple[float, float] = (-math.inf, math.inf),
    logarithmic: bool = False,
) -> Histogram | None:
    """The distribution of `values`; None where no value is known.

    Args:
        name, title, unit: what is counted.
        values: [N]; NaN where unknown.
        limits: least and most that is allowed, drawn where they lie within the axis.
        logarithmic: bins of equal ratio; values up to 0 count in the first.
    """
    known = np.asarray(values, float)
    known = known[np.isfinite(known)]
    if not known.size:
        return None
    scaled = _scale(known, logarithmic)
    first, last = np.quantile(scaled, (_TAIL, 1 - _TAIL))
    # A number that (all but) never changes has no bins.
    edges = np.linspace(first, last, BINS + 1) if last - first > 1e-9 else np.empty(0)
    counts = np.histogram(scaled.clip(first, last), edges)[0] if edges.size else np.empty(0, int)
    low, middle, high = np.quantile(known, (0.05, 0.5, 0.95))
    marks = [
        float((_scale(np.array([limit]), logarithmic)[0] - first) / (last - first))
        for limit in limits
        if math.isfinite(limit) and edges.size
    ]
    return Histogram(
        name=name,
        title=title,
        unit=unit,
        heights=(counts / max(1, counts.max(initial=0))).tolist(),
        counts=counts.tolist(),
        edges=(10**edges if logarithmic else edges).tolist(),
        low=float(low),
        middle=float(middle),
        high=float(high),
        least=float(known.min()),
        most=float(known.max()),
        known=int(known.size),
        marks=[mark for mark in marks if 0.0 < mark < 1.0],
    )


def _scale(values: np.ndarray, logarithmic: bool) -> np.ndarray:
    return np.log10(np.maximum(values, 1e-3)) if logarithmic else values


def figure(value: float) -> str:
    """A number as people read it: three significant digits, no exponent, no minus zero."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
