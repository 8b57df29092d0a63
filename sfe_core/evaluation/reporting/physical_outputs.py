"""What the physical protocol leaves on disk: its table, a sheet of edits, and the pages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from sfe_core.evaluation.instruments.edit_probes import NOISE, OUTSIDE
from sfe_core.evaluation.physical_commands import CHANGED, MODES, Mode, of_mode
from sfe_core.evaluation.physical_scoring import PhysicalCourse
from sfe_core.evaluation.pictures import DrawnPictures
from sfe_core.evaluation.protocol_reading import at
from sfe_core.evaluation.readings import Readings
from sfe_core.evaluation.reporting.outputs import write_pages
from sfe_core.evaluation.reporting.sheet import write_sheet
from sfe_core.evaluation.summary import EvaluationSummary
from sfe_core.files import atomic_path
from sfe_core.reporting import Reporter
from sfe_core.sampling.editing.drawing import to_picture
from sfe_core.sampling.sheets import Tile

SHEET, CODES = "sheet.png", "codes.npz"
ANGLES = ("yaw", "pitch", "roll")
_MOST_ROWS = 8


def write_physical(
    summary: EvaluationSummary,
    course: PhysicalCourse,
    pictures: Mapping[str, DrawnPictures],
    reporter: Reporter,
) -> None:
    """Write per_image.csv, summary.json, plots and the report with a sheet of each photo's edits.

    Also codes.npz: `<model>/<mode>/<part>/found`, `asked` and `before`, [N, D] in the order of
    commands.csv.

    Args:
        pictures: by model; the sheet shows the first one's.
    """
    with atomic_path(summary.folder / CODES) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **_codes(course))
    sheet, first = summary.folder / SHEET, next(iter(pictures.values()))
    write_pages(
        summary,
        physical_table(course),
        {},
        reporter,
        lambda: _write_sheet(sheet, course, first),
    )


def _codes(course: PhysicalCourse) -> dict[str, Any]:
    """[N, D] of each model, mode and part."""
    return {
        f"{model or 'package'}/{mode}/{part}/{name}": np.asarray(getattr(one, name), np.float32)
        for model, readings in course.read.items()
        for mode in MODES
        for part, one in course.parts(readings, mode).items()
        for name in ("found", "asked", "before")
    }


def physical_table(course: PhysicalCourse) -> pd.DataFrame:
    """One row per picture of each model: what was asked for, and what was found.

    `*_asked` is how long the asked change of a part is, `*_found` how far the found one goes along
    it, both nan where none was asked.
    """
    parts = [
        _rows(course, model or "package", readings, mode)
        for model, readings in course.read.items()
        for mode in MODES
    ]
    return pd.concat(parts, ignore_index=True)


def _rows(course: PhysicalCourse, model: str, readings: Readings, mode: Mode) -> pd.DataFrame:
    commands = of_mode(course.commands, mode)
    found = at(readings, [one.name for one in commands])
    columns: dict[str, object] = {
        "key": [one.name for one in commands],
        "model": model,
        "photo": [one.key for one in commands],
        "mode": mode,
        "number": [one.number for one in commands],
        **{f"{part}_of": [one.donors.get(part, "") for one in commands] for part in CHANGED},
    }
    parts = course.parts(readings, mode)
    for part, one in parts.items():
        asked = np.array([part in command.donors for command in commands])
        columns[f"{part}_error"] = one.error
        columns[f"{part}_asked"] = np.where(asked, one.size, np.nan)
        columns[f"{part}_found"] = np.where(asked, one.along, np.nan)
    for place, name in enumerate(ANGLES):
        columns[f"{name}_asked"] = parts["pose"].asked[:, place]
        columns[f"{name}_found"] = parts["pose"].found[:, place]
    columns |= {
        "identity": course.identity(found, commands),
        "outside": found.column(OUTSIDE, "difference"),
        "outside_distance": found.column(OUTSIDE, "distance"),
        "noise": found.column(NOISE, "level"),
        "noisy": found.column(NOISE, "noisy"),
        "face_found": found.column(course.bench.meter.faces.name, "detected"),
        "fault": found.faults,
    }
    return pd.DataFrame(columns)


def _write_sheet(path: Path, course: PhysicalCourse, pictures: DrawnPictures) -> Path | None:
    """A row a photo: itself, drawn back, its first edit of each mode."""
    keys = list(dict.fromkeys(one.key for one in course.commands))[:_MOST_ROWS]
    side = course.bench.meter.resolution
    tiles: list[Tile] = []
    for key in keys:
        tiles.append((key[-20:], _shown(course.bench.corpus.image(key, side))))
        for mode in MODES:
            first = next(one for one in of_mode(course.commands, mode) if one.key == key)
            image = pictures.picture(first.name, side).image
            tiles.append((mode, _shown(torch.zeros(3, side, side) if image is None else image)))
    return write_sheet(path, tiles, "photo, drawn back, and its first edits", 1 + len(MODES))


def _shown(image: Tensor) -> Image.Image:
    return Image.fromarray(to_picture(image))
