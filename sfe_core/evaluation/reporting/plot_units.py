"""Plots of action units: what was read against what was asked for, and what moved unasked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from sfe_core.evaluation.reporting.plot_style import (
    FAINT,
    FULL,
    INK,
    PAPER,
    legend_above,
    quiet_grid,
    set_title,
)
from sfe_core.evaluation.summary import CurvePoint, UnitsOfSet

COLUMNS = 3
PANEL_IN = 1.15  # height of a unit's panel
AGAINST = "#b4442c"  # of slopes below zero
_SHOWN = 0.05  # smaller slopes stay empty


def draw_unit_curves(
    figure: Figure,
    sets: Mapping[str, UnitsOfSet],
    units: Sequence[str],
    titles: Mapping[str, str],
    colours: Mapping[str, str],
) -> None:
    """A panel a unit: the mean reading at each intensity asked for, with its interval, by set."""
    rows = -(-len(units) // COLUMNS)
    panels = figure.subplots(rows, COLUMNS, sharex=True, sharey=True, squeeze=False).flatten()
    low, high = _range(sets)
    for place, unit in enumerate(units):
        axes = panels[place]
        axes.plot([low, high], [low, high], color=INK, lw=0.7, ls=":")
        for name, found in sets.items():
            _draw_curve(axes, found.curves[place], colours[name])
        axes.set_title(unit, fontsize=7.5, pad=2)
        axes.tick_params(labelsize=6.5)
        quiet_grid(axes, "both")
    for axes in panels[len(units) :]:
        axes.set_visible(False)
    panels[0].set_xlim(low - 0.3, high + 0.3)
    panels[0].set_ylim(low - 0.5, high + 0.5)
    figure.supxlabel("asked for", fontsize=7.5, y=0.005)
    figure.supylabel("read", fontsize=7.5, x=0.01)
    handles = [Rectangle((0, 0), 1, 1, color=colours[name]) for name in sets]
    legend_above(figure, [titles[name] for name in sets], handles)


def _draw_curve(axes: Axes, points: Sequence[CurvePoint], colour: str) -> None:
    rows = [
        (
            point.asked,
            point.value,
            point.value if point.low is None else point.low,
            point.value if point.high is None else point.high,
        )
        for point in points
        if point.value is not None
    ]
    if not rows:
        return
    asked, read, low, high = np.array(rows).T
    whiskers = np.clip([read - low, high - read], 0, None)
    axes.errorbar(asked, read, whiskers, fmt="o-", ms=2.2, lw=1.1, elinewidth=0.8, color=colour)


def draw_leakage(
    figure: Figure, found: UnitsOfSet, units: Sequence[str], title: str, rows: str, columns: str
) -> None:
    """Read units per intensity of the asked one: blue where they rise with it, red where fall."""
    axes = figure.subplots()
    slopes = np.array(found.leakage, dtype=float)
    for i, j in np.argwhere(np.abs(np.nan_to_num(slopes)) >= _SHOWN):
        value = slopes[i, j]
        cell = Rectangle((j - 0.48, i - 0.48), 0.96, 0.96, color=FULL if value > 0 else AGAINST)
        cell.set_linewidth(0)
        cell.set_alpha(float(min(1.0, 0.08 + 0.8 * abs(value))))
        axes.add_patch(cell)
        colour = PAPER if abs(value) > 0.6 else INK
        text = f"{value:.1f}".replace("-", "\N{MINUS SIGN}")
        axes.text(j, i, text, color=colour, ha="center", va="center", fontsize=5)
    set_title(axes, title)
    places = range(len(units))
    axes.set_xticks(places, [unit.removeprefix("AU") for unit in units], fontsize=6.5)
    axes.set_yticks(places, units, fontsize=6.5)
    axes.set_xlim(-0.5, len(units) - 0.5)
    axes.set_ylim(len(units) - 0.5, -0.5)
    axes.set_aspect("equal")
    axes.set_xlabel(columns)
    axes.set_ylabel(rows)
    axes.tick_params(length=0)
    axes.spines[:].set_color(FAINT)


def _range(sets: Mapping[str, UnitsOfSet]) -> tuple[float, float]:
    """Of what was asked for: 0 to 5 and what lies beyond."""
    asked = [point.asked for found in sets.values() for some in found.curves for point in some]
    return min([0.0, *asked]), max([5.0, *asked])
