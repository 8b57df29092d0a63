"""What an evaluation leaves on disk, below evaluation/<split>/."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import softmax

from sfe_core.arrays import Doubles, Indices
from sfe_core.emotions import EMOTIONS
from sfe_core.evaluation.csv_tables import write_table
from sfe_core.evaluation.definitions import definitions
from sfe_core.evaluation.pictures import PictureSet
from sfe_core.evaluation.readings import Readings
from sfe_core.evaluation.reporting.latex import latex_table
from sfe_core.evaluation.reporting.original_table import original_table
from sfe_core.evaluation.reporting.plots import draw_plots
from sfe_core.evaluation.reporting.report import render_report
from sfe_core.evaluation.reporting.story import write_story
from sfe_core.evaluation.statistics import recognition
from sfe_core.evaluation.summary import (
    PERSON,
    REAL,
    EvaluationSummary,
    summary_schema,
    usual_set,
)
from sfe_core.evaluation.unit_metrics import asked_columns
from sfe_core.evaluation.yardstick import Yardstick
from sfe_core.files import clear_leftovers, write_json, write_text
from sfe_core.reporting import Reporter

PLOTS = "plots"


def write_outputs(
    summary: EvaluationSummary,
    rows: pd.DataFrame,
    yardstick: Yardstick,
    readings: Mapping[str, Readings],
    sets: Mapping[str, PictureSet],
    reporter: Reporter,
) -> None:
    """Write the numbers, the tables for others' tools, plots/ and report.html, the report last.

    per_image.csv, emotion_results.csv (StableFaceEmotion's columns), summary.json and its schema
    summary.schema.json, table.tex, plots/*.png and .svg, and story.png where people are known.
    """
    table = per_image_table(rows, yardstick, readings)
    original = original_table(rows, yardstick.labels, readings)
    if original is not None:
        write_table(summary.folder / "emotion_results.csv", original)
    write_pages(summary, table, sets, reporter, lambda: write_story(summary, table, sets))


def write_pages(
    summary: EvaluationSummary,
    table: pd.DataFrame,
    sets: Mapping[str, PictureSet],
    reporter: Reporter,
    story: Callable[[], Path | None],
) -> None:
    """Write what every evaluation has, the report last.

    Args:
        table: per_image.csv.
        sets: where the pictures of the report's strips come from; without any it has none.
        story: makes a sheet of pictures for the report.
    """
    for folder in (summary.folder, summary.folder / PLOTS):
        clear_leftovers(folder)
    write_table(summary.folder / "per_image.csv", table)
    write_json(summary.folder / "summary.json", summary.as_json())
    write_text(summary.folder / "summary.schema.json", summary_schema())
    write_text(summary.folder / "table.tex", latex_table(summary))
    with reporter.task("Writing the report", 2) as task:
        sheet = story()
        plots = draw_plots(summary, table, summary.folder / PLOTS)
        task.advance()
        write_text(summary.report, render_report(summary, table, sets, plots, sheet))
        task.advance()


def per_image_table(
    rows: pd.DataFrame, yardstick: Yardstick, readings: Mapping[str, Readings]
) -> pd.DataFrame:
    """One row per key: what was asked for, of whom, and what was read off each of its pictures.

    The sets go by their prefix (`summary.usual_set`): orig is the photo, base, text, and fine is
    fine-tuned, guided. `<set>_top1..3` are the emotions the judge sees first, second and third,
    `<set>_rank` is the place of the asked emotion (1 to 8), `<set>_asked` the probability the judge
    gives it. `same_top1` and `same_top3` say whether the judge sees in `fine` what it sees in the
    photo: the first, or the first three in any order. What else a metric's record stores follows.
    """
    labels, photos = yardstick.labels, yardstick.photos
    defined = definitions(yardstick).values()
    table = pd.DataFrame(
        {
            "key": rows["key"].to_numpy(),
            "caption": rows["caption"].to_numpy(),
            "emotion": [EMOTIONS[i] if i >= 0 else None for i in labels.emotion],
            "valence": labels.valence,
            "arousal": labels.arousal,
            PERSON: rows["identity"].to_numpy(dtype=object),
        }
    )
    columns: dict[str, object] = dict(asked_columns(labels.units))
    # The photos first, as in the table that this one grew from.
    for name in sorted(readings, key=lambda name: name != REAL):
        prefix = usual_set(name).prefix
        kept = {c: v for one in defined for c, v in one.stored(readings[name], name).items()}
        for column, values in _columns(readings[name], labels.emotion, kept).items():
            columns[f"{prefix}_{column}"] = values
    tuned = "guided" if "guided" in readings else "fine"
    if tuned in readings:
        for k in (1, 3):
            same = recognition.same_first(readings[tuned].logits, photos.logits, k)
            columns[f"same_top{k}"] = pd.array(same, dtype="Float64").astype("boolean")
    return pd.concat([table, pd.DataFrame(columns, index=table.index)], axis=1)


def _columns(readings: Readings, emotion: Indices, kept: dict[str, Doubles]) -> dict[str, object]:
    """Columns of one set in their order; `kept`: those that metrics' records store."""
    order, valid = recognition.order(readings.logits), readings.valid
    names = np.array([*EMOTIONS, None], dtype=object)
    order[~valid] = len(EMOTIONS)
    columns: dict[str, object] = {f"top{k + 1}": names[order[:, k]] for k in range(3)}
    shares = softmax(np.nan_to_num(readings.logits), axis=-1)
    asked = np.take_along_axis(shares, np.maximum(emotion, 0)[:, None], axis=1)[:, 0]
    ranks = kept.pop("rank")  # nan: no picture, not asked, or not readable by the judge
    columns["rank"] = _whole(ranks)
    columns["asked"] = np.where(np.isnan(ranks), np.nan, asked)
    for name in ("valence", "arousal", "perceptual", "dists", "clip"):
        if name in kept:
            columns[name] = kept.pop(name)
    columns.setdefault("perceptual", np.full(len(valid), np.nan))
    columns["face_found"] = _whole(kept.pop("face_found"))
    return {**columns, **kept, "fault": readings.faults}


def _whole(numbers: Doubles) -> object:
    """Whole numbers, missing where they are nan."""
    return pd.array(numbers, dtype="Float64").astype("Int64")
