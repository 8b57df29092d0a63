"""Plots of the personal protocol: what expression is gained for what identity, over strength."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sfe_core.arrays import Doubles
from sfe_core.evaluation.reporting.plot_style import FAINT, INK, OTHER_COLOURS, quiet_grid
from sfe_core.evaluation.summary import (
    Interval,
    PersonalOfSet,
    PersonalResult,
    StrengthPoint,
)

_Pick = Callable[[StrengthPoint], Interval]


def draw_identity_expression(figure: Figure, found: PersonalResult) -> None:
    """Identity (across) and share shown as asked (up), joined by strength, with both intervals.

    Dashed: what real photos of the person and of others give; dotted: midway.
    """
    axes = figure.subplots()
    for level, name, style in (
        (found.same, "same person", "--"),
        (found.different, "others", "--"),
        (found.least, "", ":"),
    ):
        if level is not None:
            axes.axvline(level, color=INK if style == ":" else FAINT, lw=0.9, ls=style)
            axes.text(level, 1.02, name, fontsize=6, ha="center", va="bottom")
    for colour, one in _coloured(found):
        points = [
            p for p in one.points if p.identity.value is not None and p.shown.value is not None
        ]
        across, across_ends = _column(points, lambda point: point.identity)
        up, up_ends = _column(points, lambda point: point.shown)
        axes.errorbar(
            across, up, up_ends, across_ends, fmt="o-", ms=3, lw=1.1, elinewidth=0.7, color=colour,
            label=one.title,
        )  # fmt: skip
        for point, x, y in zip(points, across, up, strict=True):
            offset = (4, 4)
            axes.annotate(f"{point.strength:g}", (x, y), offset, textcoords="offset points", size=6)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel(f"identity, cosine by {found.embedder}")
    axes.set_ylabel("share shown as asked")
    _finish(axes, found)


def draw_strength(figure: Figure, found: PersonalResult) -> None:
    """The judge's probability of what was asked (solid) and identity (dashed), over strength."""
    axes = figure.subplots()
    for colour, one in _coloured(found):
        picks: tuple[tuple[_Pick, str], ...] = (
            (lambda point: point.probability, "o-"),
            (lambda point: point.identity, "s--"),
        )
        for pick, style in picks:
            points = [point for point in one.points if pick(point).value is not None]
            read, ends = _column(points, pick)
            asked = [point.strength for point in points]
            label = one.title if style == "o-" else None
            axes.errorbar(
                asked, read, ends, fmt=style, ms=2.5, lw=1.1, elinewidth=0.7, color=colour,
                label=label,
            )  # fmt: skip
    axes.set_ylim(min(0.0, axes.get_ylim()[0]), 1.02)
    axes.set_xlabel("strength asked for")
    axes.set_ylabel("probability (solid), identity (dashed)")
    _finish(axes, found)


def _coloured(found: PersonalResult) -> list[tuple[str, PersonalOfSet]]:
    return list(zip(OTHER_COLOURS * len(found.sets), found.sets.values(), strict=False))


def _column(points: Sequence[StrengthPoint], pick: _Pick) -> tuple[Doubles, Doubles]:
    """Values [S], and how far their intervals reach below and above [2, S]."""
    rows = np.array(
        [
            (one.value, one.value if one.low is None else one.low,
             one.value if one.high is None else one.high)
            for one in map(pick, points)
        ],
        dtype=np.float64,
    ).reshape(-1, 3)  # fmt: skip
    value, low, high = rows.T
    return value, np.clip(np.stack([value - low, high - value]), 0, None)


def _finish(axes: Axes, found: PersonalResult) -> None:
    quiet_grid(axes, "both")
    if len(found.sets) > 1:
        axes.legend(fontsize=6.5, loc="best")
