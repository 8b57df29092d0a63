"""What an evaluation by a protocol leaves on disk: its list, its table, a sheet, and the pages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from sfe_core.evaluation.csv_tables import write_table
from sfe_core.evaluation.pictures import DrawnPictures
from sfe_core.evaluation.protocol_scoring import Held, asked_labels
from sfe_core.evaluation.reporting.outputs import write_pages
from sfe_core.evaluation.reporting.sheet import tiles_there, write_sheet
from sfe_core.evaluation.summary import PERSON, REAL, EvaluationSummary
from sfe_core.evaluation.unit_metrics import asked_columns
from sfe_core.evaluation.unit_protocols import Command
from sfe_core.evaluation.yardstick import UNITS
from sfe_core.reporting import Reporter

SHEET = "sheet.png"


def write_commands(path: Path, commands: Sequence[Command]) -> None:
    """Write the list to draw by: name, part, prompt, photo, and what is to be shown of each unit.

    `AU12L` and `AU12R` are intensities of the person's left and right; `AU12_asked` is what is
    asked for: an intensity, or of photos, a change (the mean of both halves).
    """
    rows = [
        {
            "name": command.name,
            "part": command.part,
            "prompt": command.prompt,
            "photo": command.photo,
            **command.told_names(),
            **{f"{unit}_asked": sum(sides) / 2 for unit, sides in command.asked.items()},
        }
        for command in commands
    ]
    write_table(path, pd.DataFrame(rows))


def write_protocol(
    summary: EvaluationSummary,
    commands: Sequence[Command],
    held: Held,
    pictures: DrawnPictures,
    reporter: Reporter,
) -> None:
    """Write per_image.csv, summary.json, plots and the report with a sheet of the first face."""
    table = commanded_table(commands, held, summary)
    sheet = summary.folder / SHEET
    write_pages(summary, table, {}, reporter, lambda: _write_sheet(sheet, commands, pictures))


def commanded_table(
    commands: Sequence[Command], held: Held, summary: EvaluationSummary
) -> pd.DataFrame:
    """One row per command: what it asks for of the units it is judged by, and what was read."""
    names = [command.name for command in commands]
    units = [] if summary.units is None else summary.units.units
    columns: dict[str, object] = {
        "key": names,
        "part": [command.part for command in commands],
        "caption": [command.prompt for command in commands],
        PERSON: [command.who for command in commands],
        **asked_columns(asked_labels(commands, units).units),
    }
    place = {name: number for number, name in enumerate(names)}
    for name, one in held.sets.items():
        if name == REAL:
            continue
        rows = [place[str(key)] for key in one.readings.keys]
        for unit in units:
            for side in "LR":
                values = np.full(len(names), np.nan)
                values[rows] = one.readings.column(UNITS, f"{unit}{side}")
                columns[f"{one.info.prefix}_{unit}{side}"] = values
    return pd.DataFrame(columns)


def _write_sheet(path: Path, commands: Sequence[Command], pictures: DrawnPictures) -> Path | None:
    """The first face with each unit alone, in the order of the list; None where none is there."""
    first = commands[0].who
    wanted = [
        (one.name.rsplit("/", 1)[-1], pictures.path(one.name))
        for one in commands
        if one.who == first and one.part == "single"
    ]
    tiles = list(tiles_there(wanted))
    return write_sheet(path, tiles, commands[0].prompt, min(len(tiles), 10))
