"""The plots of a report, as PNG in a light and a dark dress."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from sfe_core.emotions import EMOTIONS
from sfe_core.evaluation.metrics import Labels
from sfe_core.evaluation.readings import Readings
from sfe_core.evaluation.summary import VARIANTS, EvaluationSummary, Score
from sfe_core.files import atomic_path

DPI = 140
# Okabe & Ito's palette keeps the sets apart for every kind of colour vision.
VARIANT_COLOURS = {"base": "#8C8C8C", "text": "#56A0D9", "guided": "#E0762F", "real": "#2FA37C"}
EMOTION_COLOURS = (
    "#8C8C8C",
    "#E6A700",
    "#3B7DD8",
    "#D55E9C",
    "#8A63D2",
    "#5BA300",
    "#D1462F",
    "#1BA5A5",
)


@dataclass(frozen=True)
class Dress:
    """Colours of a theme."""

    paper: str
    ink: str
    faint: str
    full: str  # of a cell of the confusion matrix that holds everything


DRESSES = {
    "light": Dress("#FFFFFF", "#1B1F24", "#D5D9DF", "#1B4F9C"),
    "dark": Dress("#171A1F", "#E6E9EE", "#3A4048", "#86B6FF"),
}


@dataclass(frozen=True)
class Plot:
    """One plot: PNG bytes by theme, and what it shows in words."""

    name: str
    title: str
    description: str
    png: dict[str, bytes]


def draw_plots(
    summary: EvaluationSummary, labels: Labels, readings: Mapping[str, Readings], folder: Path
) -> list[Plot]:
    """Draw every plot whose numbers exist; the light ones also go to `folder`/<name>.png."""
    has_emotions = any(summary.emotions.values())
    has_affect = any(score.get("valence_rmse", _NONE).value is not None for score in _sets(summary))
    wanted = [
        ("topk", "Emotion Top-1, 2, 3", _bars, (5.8, 5.6), has_emotions),
        ("radar", "Recall of each emotion", _radar, (5.8, 5.6), has_emotions),
        ("confusion", "What was asked, what the judge sees", _confusions, (7.6, 7.6), has_emotions),
        ("affect", "Valence and arousal, asked and read", _affect, (7.6, 7.6), has_affect),
    ]
    plots = []
    for name, title, draw, size, possible in wanted:
        if not possible:
            continue
        png = {
            theme: _render(draw, dress, size, summary, labels, readings)
            for theme, dress in DRESSES.items()
        }
        with atomic_path(folder / f"{name}.png") as partial:
            partial.write_bytes(png["light"])
        plots.append(Plot(name, title, _DESCRIPTIONS[name], png))
    return plots


_NONE = Score(value=None, low=None, high=None, n=0, backend="", weights_sha256="", resize="")
_DESCRIPTIONS = {
    "topk": "Share of pictures whose asked emotion is among the judge's first one, two or three; "
    "whiskers are 95 % bootstrap intervals. The real photos show how far this judge can be "
    "trusted, so they are the ceiling. Guessing gives 12.5, 25 and 37.5 %.",
    "radar": "Share of pictures of each asked emotion that the judge sees as that emotion.",
    "confusion": "Rows: the emotion asked for. Columns: what the judge sees first. "
    "Shares of a row, in percent.",
    "affect": "Dots: the judge's reading of each picture. Rings: the mean label of each "
    "emotion, joined to the mean of what was read.",
}


def _sets(summary: EvaluationSummary) -> list[dict[str, Score]]:
    return list(summary.scores.values())


def _render(draw, dress: Dress, size, summary, labels, readings) -> bytes:
    style = {
        "font.family": "DejaVu Sans",
        "font.size": 9,
        "text.color": dress.ink,
        "axes.labelcolor": dress.ink,
        "axes.edgecolor": dress.faint,
        "axes.facecolor": dress.paper,
        "xtick.color": dress.ink,
        "ytick.color": dress.ink,
        "grid.color": dress.faint,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
    }
    with rc_context(style):
        figure = Figure(figsize=size, facecolor=dress.paper, layout="constrained")
        draw(figure, dress, summary, labels, readings)
        stream = BytesIO()
        figure.savefig(stream, format="png", dpi=DPI, metadata={"Software": None})
    return stream.getvalue()


def _bars(figure: Figure, dress: Dress, summary: EvaluationSummary, labels, readings) -> None:
    axes = figure.subplots()
    names = ("top1", "top2", "top3")
    width = 0.8 / len(summary.scores)
    for place, (variant, scores) in enumerate(summary.scores.items()):
        x = np.arange(3) + (place - (len(summary.scores) - 1) / 2) * width
        values = np.array([_percent(scores[name].value) for name in names])
        axes.bar(x, values, width * 0.92, color=VARIANT_COLOURS[variant], label=VARIANTS[variant])
        low = np.array([_percent(scores[name].low) for name in names])
        high = np.array([_percent(scores[name].high) for name in names])
        whiskers = np.clip(np.vstack([values - low, high - values]), 0, None)
        axes.errorbar(x, values, np.nan_to_num(whiskers), fmt="none", ecolor=dress.ink, lw=1)
    for k in range(3):
        axes.hlines(100 * (k + 1) / 8, k - 0.46, k + 0.46, color=dress.ink, lw=0.8, ls=":")
    axes.set_xticks(range(3), ["Top-1", "Top-2", "Top-3"])
    axes.set_ylim(0, 102)
    axes.set_ylabel("% of pictures")
    axes.grid(axis="y", lw=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    figure.legend(loc="outside upper center", ncols=2, fontsize=9, handlelength=1)


def _radar(figure: Figure, dress: Dress, summary: EvaluationSummary, labels, readings) -> None:
    axes = figure.add_subplot(projection="polar")
    asked = [name for name in EMOTIONS if summary.emotions[name]]
    angles = np.linspace(0, 2 * np.pi, len(asked), endpoint=False)
    for variant, scores in summary.scores.items():
        recall = np.array([_percent(scores[f"recall_{name}"].value) for name in asked])
        closed = np.append(recall, recall[:1])
        colour = VARIANT_COLOURS[variant]
        axes.plot(np.append(angles, angles[:1]), closed, color=colour, lw=1.8, marker="o", ms=3.5)
        axes.fill(np.append(angles, angles[:1]), closed, color=colour, alpha=0.08)
        axes.plot([], [], color=colour, lw=3, label=VARIANTS[variant])
    axes.set_theta_offset(np.pi / 2)
    axes.set_theta_direction(-1)
    axes.set_xticks(angles, [f"{name}\nn = {summary.emotions[name]}" for name in asked])
    axes.tick_params(axis="x", pad=10)
    axes.set_ylim(0, 100)
    axes.set_yticks([25, 50, 75, 100], ["25", "50", "75", "100 %"], fontsize=7)
    axes.set_rlabel_position(180 / max(len(asked), 1))
    axes.spines["polar"].set_color(dress.faint)
    figure.legend(loc="outside upper center", ncols=2, fontsize=8.5, handlelength=1)


def _confusions(figure: Figure, dress: Dress, summary: EvaluationSummary, labels, readings) -> None:
    shades = LinearSegmentedColormap.from_list("shades", [dress.paper, dress.full])
    panels = figure.subplots(2, 2).flatten()
    for axes, (variant, counts) in zip(panels, summary.confusion.items(), strict=False):
        matrix = np.array(counts, dtype=float)
        rows = matrix.sum(axis=1, keepdims=True)
        share = np.divide(100 * matrix, rows, out=np.zeros_like(matrix), where=rows > 0)
        axes.imshow(share, cmap=shades, vmin=0, vmax=100)
        axes.set_title(VARIANTS[variant], fontsize=10, color=dress.ink)
        axes.set_xticks(range(8), EMOTIONS, rotation=45, ha="right", fontsize=7.5)
        axes.set_yticks(range(8), EMOTIONS, fontsize=7.5)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        _write_shares(axes, share, rows[:, 0], dress)
    for axes in panels[len(summary.confusion) :]:
        axes.set_axis_off()
    figure.supxlabel("seen", fontsize=9)
    figure.supylabel("asked", fontsize=9)


def _write_shares(axes: Axes, share: np.ndarray, rows: np.ndarray, dress: Dress) -> None:
    for i, j in np.ndindex(share.shape):
        if rows[i] == 0 or share[i, j] < 0.5:
            continue
        colour = dress.paper if share[i, j] > 50 else dress.ink
        axes.text(j, i, f"{share[i, j]:.0f}", ha="center", va="center", fontsize=7, color=colour)


def _affect(
    figure: Figure,
    dress: Dress,
    summary: EvaluationSummary,
    labels: Labels,
    readings: Mapping[str, Readings],
) -> None:
    panels = figure.subplots(2, 2, sharex=True, sharey=True).flatten()
    for axes, (variant, read) in zip(panels, readings.items(), strict=False):
        axes.axhline(0, color=dress.faint, lw=0.8)
        axes.axvline(0, color=dress.faint, lw=0.8)
        for index, name in enumerate(EMOTIONS):
            _one_emotion(axes, labels, read, index, name)
        if not (labels.emotion >= 0).any():
            axes.scatter(read.valence, read.arousal, s=10, color=VARIANT_COLOURS[variant])
        axes.set_title(VARIANTS[variant], fontsize=10)
        axes.set_xlim(-1.05, 1.05)
        axes.set_ylim(-1.05, 1.05)
        axes.set_aspect("equal")
        axes.label_outer()
    for axes in panels[len(readings) :]:
        axes.set_axis_off()
    figure.supxlabel("valence", fontsize=9)
    figure.supylabel("arousal", fontsize=9)
    handles = panels[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=4, fontsize=8.5, handletextpad=0.1)


def _one_emotion(axes: Axes, labels: Labels, read: Readings, index: int, name: str) -> None:
    chosen = (labels.emotion == index) & read.valid
    if not chosen.any():
        return
    colour = EMOTION_COLOURS[index]
    axes.scatter(read.valence[chosen], read.arousal[chosen], s=9, color=colour, alpha=0.5, lw=0)
    axes.scatter([], [], s=26, color=colour, label=name)
    asked = np.array([labels.valence[chosen], labels.arousal[chosen]])
    if np.isnan(asked).any():
        return
    start = asked.mean(axis=1)
    end = (read.valence[chosen].mean(), read.arousal[chosen].mean())
    axes.plot(*zip(start, end, strict=True), color=colour, lw=1.4)
    axes.scatter(*start, s=46, facecolors="none", edgecolors=colour, lw=1.6)


def _percent(value: float | None) -> float:
    return float("nan") if value is None else 100.0 * value
