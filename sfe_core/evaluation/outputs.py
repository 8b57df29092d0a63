"""What an evaluation leaves on disk, below evaluation/<split>/."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from sfe_core.emotions import EMOTIONS
from sfe_core.evaluation import recognition
from sfe_core.evaluation.metrics import Labels
from sfe_core.evaluation.pictures import PictureSet
from sfe_core.evaluation.plots import draw_plots
from sfe_core.evaluation.readings import Readings
from sfe_core.evaluation.report import render_report
from sfe_core.evaluation.summary import EvaluationSummary
from sfe_core.files import atomic_path, write_json, write_text
from sfe_core.reporting import Reporter

# The column prefixes of StableFaceEmotion's evaluation, so that its plots can be drawn from ours;
# its fine-tuned pictures are drawn with guidance here.
PREFIXES = {"real": "orig", "base": "base", "guided": "fine", "text": "text"}


def write_outputs(
    summary: EvaluationSummary,
    rows: pd.DataFrame,
    labels: Labels,
    readings: Mapping[str, Readings],
    sets: Mapping[str, PictureSet],
    reporter: Reporter,
) -> None:
    """Write summary.json, per_image.csv, plots/*.png and report.html, the report last."""
    table = per_image_table(rows, labels, readings)
    with atomic_path(summary.folder / "per_image.csv") as partial:
        table.to_csv(partial, index=False, float_format="%.6g", lineterminator="\n")
    write_json(summary.folder / "summary.json", summary.as_json())
    with reporter.task("Writing the report", 2) as task:
        plots = draw_plots(summary, labels, readings, summary.folder / "plots")
        task.advance()
        write_text(summary.report, render_report(summary, table, sets, plots))
        task.advance()


def per_image_table(
    rows: pd.DataFrame, labels: Labels, readings: Mapping[str, Readings]
) -> pd.DataFrame:
    """One row per key: what was asked for, and what was read off each of its pictures.

    `<set>_top1..3` are the emotions the judge sees first, second and third, `<set>_rank` is the
    place of the asked emotion (1 to 8), `<set>_asked` the probability the judge gives it; the sets
    are orig (the photo), base, text and fine (fine-tuned, guided). `same_top1` and `same_top3` say
    whether the judge sees in `fine` what it sees in the photo: the first, or the first three in
    any order.
    """
    table = pd.DataFrame(
        {
            "key": rows["key"].to_numpy(),
            "caption": rows["caption"].to_numpy(),
            "emotion": [EMOTIONS[i] if i >= 0 else None for i in labels.emotion],
            "valence": labels.valence,
            "arousal": labels.arousal,
        }
    )
    for variant, prefix in PREFIXES.items():
        if variant in readings:
            for name, values in _columns(readings[variant], labels).items():
                table[f"{prefix}_{name}"] = values
    if {"real", "guided"} <= readings.keys():
        first, second = _order(readings["real"]), _order(readings["guided"])
        seen = readings["guided"].valid
        table["same_top1"] = _where(seen, first[:, 0] == second[:, 0])
        same_three = (np.sort(first[:, :3]) == np.sort(second[:, :3])).all(axis=1)
        table["same_top3"] = _where(seen, same_three)
    return table


def _columns(readings: Readings, labels: Labels) -> dict[str, object]:
    order, valid = _order(readings), readings.valid
    names = np.array(EMOTIONS, dtype=object)
    columns: dict[str, object] = {
        f"top{k + 1}": np.where(valid, names[order[:, k]], None) for k in range(3)
    }
    logits = np.nan_to_num(readings.logits)
    rank = recognition.asked_rank(logits, labels.emotion)
    chosen = np.maximum(labels.emotion, 0)[:, None]
    asked = np.take_along_axis(recognition.probabilities(logits), chosen, axis=1)[:, 0]
    unknown = ~valid | (labels.emotion < 0)
    columns["rank"] = pd.array(np.where(unknown, np.nan, rank), dtype="Float64").astype("Int64")
    columns["asked"] = np.where(unknown, np.nan, asked)
    columns["valence"] = readings.valence
    columns["arousal"] = readings.arousal
    columns["perceptual"] = readings.perceptual
    columns["face_found"] = pd.array(readings.detected, dtype="Float64").astype("Int64")
    columns["landmark_error"] = readings.landmark_error
    columns["fault"] = readings.faults
    return columns


def _order(readings: Readings) -> np.ndarray:
    """[N, 8] indices of emotions, from the judge's first to its last."""
    return np.argsort(-np.nan_to_num(readings.logits), axis=1, kind="stable")


def _where(known: np.ndarray, values: np.ndarray) -> object:
    return pd.array(np.where(known, values, None), dtype="boolean")
