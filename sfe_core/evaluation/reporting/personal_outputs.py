"""What the personal protocol leaves on disk: its table, a sheet of one noise, and the pages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from sfe_core.emotions import EMOTIONS
from sfe_core.evaluation.personal_commands import at_strength, of_class, strengths_of
from sfe_core.evaluation.personal_scoring import PersonalCourse
from sfe_core.evaluation.pictures import DrawnPictures
from sfe_core.evaluation.reporting.outputs import write_pages
from sfe_core.evaluation.reporting.sheet import tiles_there, write_sheet
from sfe_core.evaluation.statistics import recognition
from sfe_core.evaluation.statistics.expression_control import person_cosine
from sfe_core.evaluation.summary import EvaluationSummary
from sfe_core.reporting import Reporter

SHEET = "sheet.png"


def write_personal(
    summary: EvaluationSummary,
    course: PersonalCourse,
    pictures: DrawnPictures,
    reporter: Reporter,
    base: DrawnPictures | None = None,
) -> None:
    """Write per_image.csv, summary.json, plots and the report with a sheet of the first noise.

    Args:
        base: its pictures of the class prompt, a row of the sheet; None: there are none.
    """
    sheet = summary.folder / SHEET
    write_pages(
        summary,
        personal_table(course),
        {},
        reporter,
        lambda: _write_sheet(sheet, course, pictures, base),
    )


def personal_table(course: PersonalCourse) -> pd.DataFrame:
    """One row per picture of each model: what was asked for, and what was read."""
    parts = []
    commands = {one.name: one for one in course.commands}
    for model, readings in course.read.items():
        asked = [commands[str(key)] for key in readings.keys]
        order = recognition.order(readings.logits)
        seen = np.array([*EMOTIONS, None], dtype=object)
        first = np.where(readings.valid, order[:, 0], len(EMOTIONS))
        parts.append(
            pd.DataFrame(
                {
                    "key": readings.keys,
                    "model": model or "package",
                    "part": [one.part for one in asked],
                    "noise": [one.number for one in asked],
                    "emotion": [one.emotion for one in asked],
                    "strength": [one.strength for one in asked],
                    "caption": [one.prompt for one in asked],
                    "seen": seen[first],
                    "identity": person_cosine(
                        readings.column(course.embedder, "embedding"), course.album.person
                    ),
                    "distance": readings.column(course.bench.meter.perceptual, "distance"),
                    "fault": readings.faults,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def _write_sheet(
    path: Path, course: PersonalCourse, pictures: DrawnPictures, base: DrawnPictures | None
) -> Path | None:
    """The first noise, the base's class prompt above a row a strength; None where nothing is."""
    wanted = []
    if base is not None:
        first = of_class(course.commands)[: len(EMOTIONS)]
        wanted += [(f"base: {one.emotion}", base.path(one.name)) for one in first]
    for strength in strengths_of(course.commands):
        for command in at_strength(course.commands, strength)[: len(EMOTIONS)]:
            grade = f" {command.strength:g}" if command.strength else ""
            wanted.append((f"{command.emotion}{grade}", pictures.path(command.name)))
    return write_sheet(path, list(tiles_there(wanted)), "one noise", len(EMOTIONS))
