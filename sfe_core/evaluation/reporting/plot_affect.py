"""The valence-arousal plane: what was asked for, and what the judge reads."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sfe_core.emotions import EMOTIONS
from sfe_core.evaluation.reporting.plot_style import EMOTION_COLOURS, FAINT, set_title


def draw_affect(figure: Figure, table: pd.DataFrame, prefix: str, title: str, colour: str) -> None:
    """One set's readings as dots; rings are mean labels, joined to the mean of what was read.

    Args:
        table: per-image rows with `emotion`, `valence`, `arousal` and the set's own columns.
        prefix: of the set's columns.
        colour: of the dots of pictures without an emotion label.
    """
    axes = figure.subplots()
    axes.axhline(0, color=FAINT, lw=0.8)
    axes.axvline(0, color=FAINT, lw=0.8)
    read = table[[f"{prefix}_valence", f"{prefix}_arousal"]].to_numpy(dtype=float, na_value=np.nan)
    asked = table[["valence", "arousal"]].to_numpy(dtype=float, na_value=np.nan)
    seen = np.isfinite(read).all(axis=1)
    emotion = table["emotion"].to_numpy(dtype=object)
    for index, name in enumerate(EMOTIONS):
        chosen = seen & (emotion == name)
        if chosen.any():
            _one_emotion(axes, asked[chosen], read[chosen], EMOTION_COLOURS[index], name)
    plain = seen & table["emotion"].isna().to_numpy()
    axes.scatter(*read[plain].T, s=9, color=colour, alpha=0.6, lw=0)
    set_title(axes, title)
    axes.set_xlim(-1.05, 1.05)
    axes.set_ylim(-1.05, 1.05)
    axes.set_xticks((-1, -0.5, 0, 0.5, 1))
    axes.set_yticks((-1, -0.5, 0, 0.5, 1))
    axes.set_aspect("equal")
    axes.set_xlabel("valence")
    axes.set_ylabel("arousal")
    if (seen & ~plain).any():
        style = {"ncols": 4, "fontsize": 7.5, "handletextpad": 0.0, "columnspacing": 0.8}
        figure.legend(loc="lower center", **style)


def _one_emotion(axes: Axes, asked: np.ndarray, read: np.ndarray, colour: str, name: str) -> None:
    axes.scatter(*read.T, s=9, color=colour, alpha=0.5, lw=0)
    axes.scatter([], [], s=26, color=colour, label=name)
    labelled = np.isfinite(asked).all(axis=1)
    if not labelled.any():
        return
    start, end = asked[labelled].mean(axis=0), read[labelled].mean(axis=0)
    axes.plot(*zip(start, end, strict=True), color=colour, lw=1.4)
    axes.scatter(*start, s=46, facecolors="none", edgecolors=colour, lw=1.6)
