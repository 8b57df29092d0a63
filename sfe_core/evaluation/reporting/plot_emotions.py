"""Plots of what a recogniser sees: top-k, recall, radar, confusion, reliability, affect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.projections.polar import PolarAxes

from sfe_core.emotions import EMOTIONS
from sfe_core.evaluation.reporting.plot_style import (
    EMOTION_COLOURS,
    FAINT,
    FULL,
    INK,
    PAPER,
    legend_above,
    quiet_grid,
    set_title,
)
from sfe_core.evaluation.summary import Reliability, Score

Matrix = Sequence[Sequence[int]]
Scores = Mapping[str, Score]


def draw_topk(
    figure: Figure,
    scores: Mapping[str, Scores],
    titles: Mapping[str, str],
    colours: Mapping[str, str],
    suffix: str,
    chance: Sequence[float],
) -> None:
    """Bars of Top-1, 2 and 3 by set, with their intervals and what guessing gives (`chance`)."""
    axes = figure.subplots()
    width = 0.8 / len(scores)
    for place, (name, found) in enumerate(scores.items()):
        x = np.arange(3) + (place - (len(scores) - 1) / 2) * width
        chosen = [found[f"top{k}{suffix}"] for k in (1, 2, 3)]
        values = _percents([score.value for score in chosen])
        axes.bar(x, values, width * 0.92, color=colours[name], label=titles[name])
        axes.errorbar(x, values, _whiskers(chosen), fmt="none", ecolor=INK, lw=0.9)
    for k, share in enumerate(chance):
        axes.hlines(100 * share, k - 0.46, k + 0.46, color=INK, lw=0.8, ls=":")
    axes.set_xticks(range(3), ["Top-1", "Top-2", "Top-3"])
    axes.set_ylim(0, 102)
    axes.set_ylabel("% of pictures")
    quiet_grid(axes, "y")
    legend_above(figure, titles.values())


def draw_recall(
    figure: Figure,
    scores: Mapping[str, Scores],
    titles: Mapping[str, str],
    colours: Mapping[str, str],
    emotions: Mapping[str, int],
    suffix: str,
) -> None:
    """Recall of each emotion asked for, by set, as dots with their intervals."""
    axes = figure.subplots()
    asked = [name for name in EMOTIONS if emotions.get(name)]
    step = 0.72 / len(scores)
    for place, (name, found) in enumerate(scores.items()):
        y = np.arange(len(asked)) + (place - (len(scores) - 1) / 2) * step
        chosen = [found[f"recall_{emotion}{suffix}"] for emotion in asked]
        values = _percents([score.value for score in chosen])
        axes.errorbar(
            values,
            y,
            xerr=_whiskers(chosen),
            fmt="o",
            ms=3.6,
            lw=1.2,
            color=colours[name],
            label=titles[name],
        )
    for row in range(1, len(asked)):
        axes.axhline(row - 0.5, color=FAINT, lw=0.6)
    axes.set_yticks(range(len(asked)), [f"{name}\nn = {emotions[name]}" for name in asked])
    axes.set_ylim(len(asked) - 0.5, -0.5)
    axes.set_xlim(-3, 103)
    axes.set_xlabel("% seen as the emotion asked for")
    quiet_grid(axes, "x")
    legend_above(figure, titles.values())


def draw_radar(
    figure: Figure,
    matrices: Mapping[str, Matrix],
    titles: Mapping[str, str],
    colours: Mapping[str, str],
) -> None:
    """Share of each row's diagonal, one ring per set; emotions that no row holds are left out."""
    axes = figure.add_subplot(projection="polar")
    assert isinstance(axes, PolarAxes)
    counts = {name: np.array(matrix, dtype=float) for name, matrix in matrices.items()}
    rows = np.max([matrix.sum(axis=1) for matrix in counts.values()], axis=0)
    there = np.flatnonzero(rows)
    angles = np.linspace(0, 2 * np.pi, len(there), endpoint=False)
    for name, matrix in counts.items():
        share = row_shares(matrix)[there, there]
        closed = np.append(angles, angles[:1]), np.append(share, share[:1])
        axes.plot(*closed, color=colours[name], lw=1.6, marker="o", ms=3)
        axes.fill(angles, share, color=colours[name], alpha=0.08)
        axes.plot([], [], color=colours[name], lw=3, label=titles[name])
    axes.set_theta_offset(np.pi / 2)
    axes.set_theta_direction(-1)
    axes.set_xticks(angles, [f"{EMOTIONS[i]}\nn = {rows[i]:.0f}" for i in there])
    axes.tick_params(axis="x", pad=2)
    for angle, label in zip(angles, axes.get_xticklabels(), strict=True):
        side = np.sin(angle)
        label.set_horizontalalignment(
            "center" if abs(side) < 0.1 else ("right", "left")[int(side > 0)]
        )
    axes.set_ylim(0, 100)
    axes.set_yticks([25, 50, 75, 100], ["25", "50", "75", "100 %"], fontsize=6.5)
    axes.set_rlabel_position(180 / max(len(there), 1))
    axes.spines["polar"].set_color(FAINT)
    legend_above(figure, titles.values())


def draw_confusion(figure: Figure, matrix: Matrix, title: str, rows: str, columns: str) -> None:
    """Shares of each row in percent; a row nobody asked for stays empty."""
    axes = figure.subplots()
    counts = np.array(matrix, dtype=float)
    share = row_shares(counts)
    for i, j in np.ndindex(share.shape):
        if share[i, j] < 0.5:
            continue
        cell = Rectangle((j - 0.48, i - 0.48), 0.96, 0.96, color=FULL, lw=0)
        cell.set_alpha(float(0.08 + 0.92 * share[i, j] / 100))
        axes.add_patch(cell)
        colour = PAPER if share[i, j] > 50 else INK
        text = f"{share[i, j]:.0f}"
        axes.text(j, i, text, color=colour, ha="center", va="center", fontsize=7.5)
    set_title(axes, title)
    axes.set_xticks(range(8), EMOTIONS, rotation=45, ha="right", rotation_mode="anchor")
    totals = counts.sum(axis=1)
    axes.set_yticks(range(8), [f"{EMOTIONS[i]} ({totals[i]:.0f})" for i in range(8)])
    axes.set_xlim(-0.5, 7.5)
    axes.set_ylim(7.5, -0.5)
    axes.set_aspect("equal")
    axes.set_xlabel(columns)
    axes.set_ylabel(rows)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def draw_reliability(figure: Figure, found: Reliability, title: str, colour: str) -> None:
    """How often a recogniser is right against how sure it is, and how often it is how sure."""
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 100], [0, 100], color=INK, lw=0.8, ls=":")
    bins = [one for one in found.bins if one.n]
    x = _percents([one.confidence for one in bins])
    y = _percents([one.accuracy for one in bins])
    low = y - _percents([one.accuracy_low for one in bins])
    high = _percents([one.accuracy_high for one in bins]) - y
    whiskers = np.clip(np.nan_to_num([low, high]), 0, None)
    above.errorbar(x, y, whiskers, fmt="o-", ms=4, lw=1.2, color=colour)
    edges = [100 * one.low for one in found.bins] + [100 * found.bins[-1].high]
    below.stairs([one.n for one in found.bins], edges, fill=True, color=colour, alpha=0.75)
    error = "" if found.ece is None else f"ECE {100 * found.ece:.1f} %, "
    set_title(above, f"{title} ({error}n = {found.n})")
    above.set_ylim(-2, 102)
    above.set_ylabel("% right")
    below.set_ylabel("pictures")
    below.set_xlabel("how sure it is, %")
    below.set_xlim(0, 100)
    quiet_grid(above, "both")
    quiet_grid(below, "y")


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
    axes.scatter(read[plain, 0], read[plain, 1], s=9, color=colour, alpha=0.6, lw=0)
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


def row_shares(counts: np.ndarray) -> np.ndarray:
    """[R, C] counts to percent of each row; a row without any is all zero."""
    rows = counts.sum(axis=1, keepdims=True)
    return np.divide(100.0 * counts, rows, out=np.zeros_like(counts), where=rows > 0)


def _percents(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else 100.0 * value for value in values])


def _whiskers(scores: Sequence[Score]) -> np.ndarray:
    """[2, N] lengths below and above; 0 where there is no interval."""
    value = _percents([score.value for score in scores])
    low = _percents([score.low for score in scores])
    high = _percents([score.high for score in scores])
    return np.clip(np.nan_to_num([value - low, high - value]), 0, None)


def _one_emotion(axes: Axes, asked: np.ndarray, read: np.ndarray, colour: str, name: str) -> None:
    axes.scatter(read[:, 0], read[:, 1], s=9, color=colour, alpha=0.5, lw=0)
    axes.scatter([], [], s=26, color=colour, label=name)
    labelled = np.isfinite(asked).all(axis=1)
    if not labelled.any():
        return
    start, end = asked[labelled].mean(axis=0), read[labelled].mean(axis=0)
    axes.plot(*zip(start, end, strict=True), color=colour, lw=1.4)
    axes.scatter(start[0], start[1], s=46, facecolors="none", edgecolors=colour, lw=1.6)
