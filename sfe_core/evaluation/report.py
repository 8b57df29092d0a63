"""The self-contained page of an evaluation: one HTML file that asks nothing of the network."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from sfe_core.evaluation.display import display, number
from sfe_core.evaluation.pictures import PictureSet
from sfe_core.evaluation.plots import Plot
from sfe_core.evaluation.summary import (
    VARIANTS,
    Delta,
    EvaluationSummary,
    Metric,
    Score,
)

SHOWN = 4
PICTURE_PX = 160
# The sets in a strip: heading, and prefix of its columns in per_image.csv.
STRIP = {
    "real": ("photo", "orig"),
    "base": ("base", "base"),
    "text": ("text", "text"),
    "guided": ("guided", "fine"),
}


@dataclass(frozen=True)
class Cell:
    """One score in a table: its text, and how it stands against the base."""

    value: str
    interval: str
    delta: str
    verdict: str  # better | worse | even | ""
    reason: str
    n: int


@dataclass(frozen=True)
class Tile:
    """One picture of a strip."""

    heading: str
    source: str
    seen: str
    share: str


@dataclass(frozen=True)
class Strip:
    """All pictures of one key."""

    key: str
    caption: str
    change: str
    tiles: list[Tile]


def render_report(
    summary: EvaluationSummary,
    table: pd.DataFrame,
    sets: Mapping[str, PictureSet],
    plots: Sequence[Plot],
) -> str:
    """The page as text.

    Args:
        summary: the numbers.
        table: per-image rows as `outputs.per_image_table` makes them.
        sets: where the pictures of the strips come from.
        plots: embedded, in the dress of the reader's theme.
    """
    environment = Environment(
        loader=PackageLoader("sfe_core.evaluation", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    best, worst = _strips(summary, table, sets)
    return (
        environment.get_template("report.html.j2").render(
            summary=summary,
            variants={name: VARIANTS[name] for name in summary.scores},
            lead=lead_sentence(summary),
            headline=_rows(summary, headline=True),
            further=_rows(summary, headline=False),
            tests=_tests(summary),
            plots=[
                (plot, {theme: _data_uri(png) for theme, png in plot.png.items()}) for plot in plots
            ],
            best=best,
            worst=worst,
            instruments=_instruments(summary),
            settings=_flat(summary.provenance.settings),
        )
        + "\n"
    )


def lead_sentence(summary: EvaluationSummary) -> str:
    """The result in words: how often each model draws the emotion it was asked for."""
    shown = {}
    for variant, scores in summary.scores.items():
        if scores["top1"].value is not None:
            shown[variant] = f"{number(scores['top1'].value, summary.metrics['top1'])} %"
    if "base" not in shown:
        return "The photos carry no emotion labels, so nothing is said of emotions here."
    parts = [f"The judge sees the asked emotion in {shown['base']} of the base model’s pictures"]
    if "text" in shown:
        parts.append(f"in {shown['text']} of the fine-tuned model’s from the caption alone")
    if "guided" in shown:
        parts.append(f"in {shown['guided']} of its guided ones")
    if "real" in shown:
        parts.append(f"and in {shown['real']} of the real photos, which is the ceiling")
    return ", ".join(parts) + "."


def _rows(summary: EvaluationSummary, headline: bool) -> list[dict[str, Any]]:
    rows = []
    for name, metric in summary.metrics.items():
        if metric.headline != headline:
            continue
        cells = {
            variant: _cell(scores[name], summary.deltas.get(variant, {}).get(name), metric)
            for variant, scores in summary.scores.items()
        }
        used = any(scores[name].value is not None for scores in summary.scores.values())
        if used or headline:
            loss = _seen_by_loss(summary, name)
            rows.append({"metric": metric, "cells": cells, "seen_by_loss": loss})
    return rows


def _seen_by_loss(summary: EvaluationSummary, name: str) -> bool:
    backend = summary.scores["real"][name].backend
    return backend in summary.provenance.loss_networks


def _cell(score: Score, delta: Delta | None, metric: Metric) -> Cell:
    if score.value is None:
        return Cell("n/a", "", "", "", score.reason, score.n)
    text = number(score.value, metric) + ("" if metric.unit == "" else " %")
    interval = ""
    if score.low is not None and score.high is not None:
        interval = f"{number(score.low, metric)} to {number(score.high, metric)}"
    change, verdict = "", ""
    if delta is not None and delta.value is not None:
        change = display(delta, metric, signed=True).replace(" %", "", 1).split(" [")[0]
        change += " points" if metric.unit in ("share", "%") else ""
        verdict = verdict_of(delta, metric)
    return Cell(text, interval, change, verdict, score.reason, score.n)


def verdict_of(delta: Delta, metric: Metric) -> str:
    """`better` or `worse` where the interval of the difference leaves zero out, else `even`."""
    if delta.low is None or delta.high is None or delta.low <= 0.0 <= delta.high:
        return "even"
    return "better" if (delta.low > 0) == (metric.better == "higher") else "worse"


def _tests(summary: EvaluationSummary) -> list[str]:
    sentences = []
    for variant, test in summary.tests.items():
        p_value = "p < 0.0001" if test.p_value < 1e-4 else f"p = {test.p_value:.4f}"
        sentences.append(
            f"{VARIANTS[variant].capitalize()} against base, picture by picture: {test.gained} "
            f"became right, {test.lost} became wrong (McNemar’s exact test, {p_value})."
        )
    return sentences


def _strips(
    summary: EvaluationSummary, table: pd.DataFrame, sets: Mapping[str, PictureSet]
) -> tuple[list[Strip], list[Strip]]:
    """Pictures whose asked emotion became most and least likely, fine-tuned against base."""
    tuned = STRIP["guided" if "guided" in sets else "text"][1]
    gain = (table[f"{tuned}_asked"] - table["base_asked"]).astype(float)
    order = gain.dropna().sort_values(ascending=False, kind="stable").index.tolist()
    if not order:
        order, gain = table.index.tolist(), None
    half = min(SHOWN, len(order) // 2) or len(order)
    best, worst = order[:half], order[half:][-half:][::-1]
    made = [
        [_strip(summary, table.loc[row], gain, row, sets) for row in rows] for rows in (best, worst)
    ]
    return made[0], made[1]


def _strip(
    summary: EvaluationSummary,
    row: pd.Series,
    gain: pd.Series | None,
    index: int,
    sets: Mapping[str, PictureSet],
) -> Strip:
    tiles = []
    for variant, (heading, prefix) in STRIP.items():
        if variant not in sets:
            continue
        picture = sets[variant].picture(row["key"], summary.resolution)
        source = "" if picture.image is None else _picture_uri(picture.image)
        asked = row[f"{prefix}_asked"]
        share = "" if pd.isna(asked) else f"p({row['emotion']}) {100 * asked:.0f} %"
        seen = picture.fault or str(row[f"{prefix}_top1"])
        tiles.append(Tile(heading, source, seen, share))
    change = "" if gain is None else f"{100 * gain[index]:+.0f}".replace("-", "\N{MINUS SIGN}")
    caption = "" if pd.isna(row["caption"]) else str(row["caption"])
    return Strip(row["key"], caption, change, tiles)


def _picture_uri(image: Any) -> str:
    levels = ((image.clamp(-1, 1) + 1.0) * 127.5).round().byte().permute(1, 2, 0).numpy()
    picture = Image.fromarray(levels)
    if max(picture.size) > PICTURE_PX:
        picture = picture.resize((PICTURE_PX, PICTURE_PX), Image.Resampling.LANCZOS)
    stream = BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return _data_uri(stream.getvalue())


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _instruments(summary: EvaluationSummary) -> list[dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for name, metric in summary.metrics.items():
        score = summary.scores["real"][name]
        entry = found.setdefault(
            score.backend,
            {
                "backend": score.backend,
                "sha256": score.weights_sha256,
                "resize": score.resize,
                "seen_by_loss": "yes" if _seen_by_loss(summary, name) else "no",
                "metrics": "",
            },
        )
        if metric.headline:
            entry["metrics"] += (", " if entry["metrics"] else "") + metric.title
    return list(found.values())


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in settings.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{name}.")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            rows.append((prefix + name, text))
    return rows
