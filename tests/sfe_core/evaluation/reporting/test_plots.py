"""Plots show the numbers they are given, and the same figure is the same file."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from sfe_core.emotions import EMOTIONS
from sfe_core.evaluation.reporting import plot_emotions, plot_style
from sfe_core.evaluation.reporting.plots import draw_plots
from sfe_core.evaluation.summary import RecogniserResult, Reliability, ReliabilityBin
from tests.sfe_core.evaluation.summaries import TOP1, make_summary, metric, score

TITLES = {"base": "base", "guided": "tuned & <guided>"}
COLOURS = {"base": "#8c8c8c", "guided": "#e0762f"}
HAPPY, SAD = EMOTIONS.index("happy"), EMOTIONS.index("sad")


def matrix(*cells: tuple[int, int, int]) -> list[list[int]]:
    counts = np.zeros((8, 8), dtype=int)
    for row, column, count in cells:
        counts[row, column] = count
    return counts.tolist()


def test_bars_are_as_high_as_the_scores_and_whiskers_span_the_intervals():
    found = {
        name: {
            f"top{k}": score((k * value, k * value - 0.1, k * value + 0.05), "x") for k in (1, 2, 3)
        }
        for name, value in (("base", 0.2), ("guided", 0.3))
    }
    figure = Figure()
    plot_emotions.draw_topk(figure, found, TITLES, COLOURS, "", (0.125, 0.25, 0.375))
    (axes,) = figure.axes
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([20, 40, 60, 30, 60, 90])
    spans = [
        segment[:, 1] for whiskers in axes.collections[:2] for segment in whiskers.get_segments()
    ]
    assert np.allclose(spans[0], [10, 25]) and np.allclose(spans[-1], [80, 95])
    guesses = [lines.get_segments()[0][0, 1] for lines in axes.collections[2:]]
    assert guesses == [12.5, 25.0, 37.5]


def test_what_guessing_gives_is_said_as_it_is_drawn(tmp_path: Path):
    names = [f"top{k}" for k in (1, 2, 3)]
    scores = {name: dict.fromkeys(names, score((0.5, 0.4, 0.6), "x")) for name in TOP1}
    for chance, words in (
        ((0.125, 0.25, 0.375), "Dotted: guessing, 12.5, 25 and 37.5 %."),
        ((0.1875, 0.375, 0.5625), "Dotted: guessing, 18.8, 37.5 and 56.2 %."),
        ((None, None, None), "so they are the ceiling."),
    ):
        metrics = {n: metric(n, chance=share) for n, share in zip(names, chance, strict=True)}
        summary = make_summary(tmp_path, metrics=metrics, scores=scores)
        table = pd.DataFrame({"emotion": ["happy"]})
        group, *_ = draw_plots(summary, table, tmp_path / "plots")
        assert group.description.endswith(words)
        assert [plot.name for plot in group.plots] == ["topk"]


def test_recall_and_radar_leave_out_emotions_nobody_asked_for():
    asked = {"happy": 4, "sad": 5}
    found = {
        name: {f"recall_{emotion}": score((0.5, 0.1, 0.9), "x") for emotion in EMOTIONS}
        for name in TITLES
    }
    figure = Figure()
    plot_emotions.draw_recall(figure, found, TITLES, COLOURS, asked, "")
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["happy\nn = 4", "sad\nn = 5"]

    figure = Figure()
    counts = {"base": matrix((HAPPY, HAPPY, 3), (HAPPY, SAD, 1), (SAD, SAD, 5))}
    plot_emotions.draw_radar(figure, counts, TITLES, COLOURS)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == labels
    assert axes.lines[0].get_ydata().tolist() == [75, 100, 75]


def test_confusions_are_shares_of_their_row():
    figure = Figure()
    counts = matrix((HAPPY, HAPPY, 3), (HAPPY, SAD, 1))
    plot_emotions.draw_confusion(figure, counts, "base", "asked", "seen")
    texts = figure.axes[0].texts
    shown = {text.get_position(): text.get_text() for text in texts}
    assert shown == {(HAPPY, HAPPY): "75", (SAD, HAPPY): "25"}
    # Light writing on the fuller cell, dark on the emptier one.
    assert [text.get_color() for text in texts] == [plot_style.PAPER, plot_style.INK]
    assert [cell.get_alpha() for cell in figure.axes[0].patches] == pytest.approx([0.77, 0.31])


def test_reliability_shows_bins_that_hold_pictures():
    empty = ReliabilityBin(low=0.0, high=0.5, n=0, confidence=None, accuracy=None)
    full = ReliabilityBin(
        low=0.5, high=1.0, n=8, confidence=0.9, accuracy=0.5, accuracy_low=0.2, accuracy_high=0.8
    )
    figure = Figure()
    found = Reliability(n=8, ece=0.4, bins=[empty, full])
    plot_emotions.draw_reliability(figure, found, "base", "#8c8c8c")
    above, below = figure.axes
    assert above.lines[1].get_xydata().tolist() == [[90.0, 50.0]]
    assert np.allclose(above.collections[0].get_segments()[0][:, 1], [20, 80])
    assert "ECE 40.0 %, n = 8" in above.get_title()
    assert below.patches[0].get_data().values.tolist() == [0, 8]


def test_the_plane_joins_what_was_asked_to_what_was_read():
    table = pd.DataFrame(
        {
            "emotion": ["happy", "happy", "sad", None],
            "valence": [0.8, 0.6, np.nan, np.nan],
            "arousal": [0.2, 0.4, np.nan, np.nan],
            "fine_valence": [0.5, 0.3, -0.5, np.nan],
            "fine_arousal": [0.1, 0.1, -0.2, np.nan],
        }
    )
    figure = Figure()
    plot_emotions.draw_affect(figure, table, "fine", "guided", "#000000")
    (axes,) = figure.axes
    # Beside the two axes through zero, one line: sad has no label, the last no reading.
    (joined,) = axes.lines[2:]
    assert np.allclose(joined.get_xydata(), [[0.7, 0.3], [0.4, 0.1]])
    dots = [one.get_offsets().data for one in axes.collections if len(one.get_offsets()) == 2]
    assert np.allclose(dots[0], [[0.5, 0.1], [0.3, 0.1]])


def draw_text(figure: Figure) -> None:
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=plot_style.INK)
    axes.scatter([0.5], [0.5], color=COLOURS["guided"])
    axes.set_title("title")


def test_a_figure_is_rendered_alike_each_time_and_themed_on_the_page(tmp_path: Path):
    png, svg = plot_style.render(draw_text, plot_style.Frame(3.0), "one")
    assert (png, svg) == plot_style.render(draw_text, plot_style.Frame(3.0), "one")
    (tmp_path / "one.png").write_bytes(png)
    with Image.open(tmp_path / "one.png") as picture:
        assert picture.size == (round(plot_style.WIDTH * plot_style.DPI), 3 * plot_style.DPI)
    element = plot_style.inline_svg(svg, "one", 'what "this" is & <more>')
    tree = ElementTree.fromstring(element)
    assert tree.get("aria-label") == 'what "this" is & <more>' and tree.get("role") == "img"
    assert not any(colour in element for colour in plot_style.THEMED)
    assert {"var(--ink)", "var(--card)"} <= set(re.findall(r"var\(--\w+\)", element))
    assert COLOURS["guided"] in element
    ids = re.findall(r'id="([^"]*)"', element)
    assert ids and all(name.startswith("one-") for name in ids)


def result(*names: str) -> RecogniserResult:
    counts = {name: matrix((HAPPY, HAPPY, 2), (SAD, HAPPY, 1)) for name in names}
    return RecogniserResult(confusion=counts, as_photo={}, reliability={})


def test_only_what_was_measured_is_drawn_and_older_plots_go(tmp_path: Path):
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "gone.svg").write_text("<svg/>", encoding="utf-8")
    (tmp_path / "plots" / "notes.txt").write_text("mine", encoding="utf-8")
    table = pd.DataFrame({"key": ["a"], "emotion": ["happy"], "base_valence": [np.nan]})
    summary = make_summary(tmp_path, recognitions={"judge": result(*TOP1)})
    groups = draw_plots(summary, table, tmp_path / "plots")
    names = [plot.name for group in groups for plot in group.plots]
    # Top-2 and 3, recall, reliability and valence were not measured; the photos were not read.
    assert names == ["radar", "confusion_base", "confusion_guided", "confusion_real"]
    files = {path.name for path in (tmp_path / "plots").iterdir()}
    assert files == {"notes.txt"} | {f"{name}.{kind}" for name in names for kind in ("png", "svg")}

    unlabelled = make_summary(tmp_path, emotions=dict.fromkeys(EMOTIONS, 0))
    assert draw_plots(unlabelled, table, tmp_path / "plots") == []


def test_every_set_has_its_own_colour():
    names = ["base", "real", *(f"model-{place}" for place in range(6))]
    colours = plot_style.set_colours(names)
    assert colours["base"] == plot_style.SET_COLOURS["base"]
    assert len(set(colours.values())) == len(names)
    assert len(plot_style.set_colours([f"model-{place}" for place in range(30)])) == 30
