"""Plots of the physical protocol: how far an edit goes for how far it was asked to go."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from sfe_core.evaluation.reporting.plot_style import FAINT, OTHER_COLOURS, quiet_grid

_AXES = {"pose": "degrees", "expression": "codes", "light": "codes"}


def draw_asked_found(figure: Figure, table: pd.DataFrame, part: str) -> None:
    """The asked change of a part (across) and what is found along it (up), a dot a picture.

    Filled: the part alone; rings: all three at once. Dashed: as asked; an edit that changes nothing
    lies on the line at 0.

    Args:
        figure: to draw on.
        table: rows as `physical_outputs.physical_table` makes them.
        part: expression, pose or light.
    """
    axes = figure.subplots()
    most = float(table[f"{part}_asked"].max())
    axes.plot([0, most], [0, most], "--", color=FAINT, lw=1.0)
    axes.axhline(0.0, color=FAINT, lw=0.8)
    models = list(dict.fromkeys(table["model"]))
    for model, colour in zip(models, OTHER_COLOURS * len(models), strict=False):
        own = table[table["model"] == model]
        for mode, fill in ((part, colour), ("all", "none")):
            rows = own[own["mode"] == mode]
            name = mode if len(models) == 1 else f"{model}, {mode}"
            axes.scatter(
                rows[f"{part}_asked"], rows[f"{part}_found"], 14, facecolors=fill,
                edgecolors=colour, linewidths=0.8, label=name,
            )  # fmt: skip
    axes.set_xlabel(f"change asked for, {_AXES[part]}")
    axes.set_ylabel("found along it")
    quiet_grid(axes, "both")
    axes.legend(fontsize=6.5, loc="best")
