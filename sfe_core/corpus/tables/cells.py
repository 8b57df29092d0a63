"""Cells of somebody's table as labels.csv has them."""

from __future__ import annotations

import math

from sfe_core.controls.action_units import MAXIMUM_INTENSITY, NOT_CODED, UnitScale
from sfe_core.corpus.tables.classes import WrongLabelError, read_class
from sfe_core.corpus.tables.column_names import BOX_COLUMNS
from sfe_core.corpus.tables.columns import Columns
from sfe_core.corpus.tables.survey import NO_AFFECT
from sfe_core.corpus.tables.tables import read_number
from sfe_core.corpus.tables.votes import read_votes

# From which probability on a unit is taken to be there.
_LIKELY = 0.5


def read_cells(cells: list[str], columns: Columns, scheme: str | None) -> dict[str, str]:
    """The cells of a row as labels.csv has them; what the row leaves open is left out.

    Args:
        cells: of one row.
        columns: of its table.
        scheme: what numbers in the emotion's column mean.

    Returns:
        Column of labels.csv → cell; `emotion` is a name, or empty where it is none of the eight.

    Raises:
        WrongLabelError: a cell is not an emotion, not a number, or out of range.
    """
    labels: dict[str, str] = {}
    if columns.emotion is not None:
        labels["emotion"] = read_class(cells[columns.emotion], scheme) or ""
    elif columns.votes:
        labels["emotion"] = read_votes(cells, columns.votes)
    for name, place in columns.numbers.items():
        if name in BOX_COLUMNS:
            number = read_number(cells[place])
            if number is not None and number >= 0:
                labels[name] = cells[place]
        else:
            labels |= read_affect_cell(name, cells[place])
    labels |= {name: cells[place] for name, place in columns.texts.items() if cells[place]}
    for name, (place, scale) in columns.units.items():
        labels |= read_unit_cell(name, cells[place], scale)
    return labels


def read_affect_cell(column: str, text: str) -> dict[str, str]:
    """The cell of valence or arousal: empty where it is blank, nan or one of NO_AFFECT.

    >>> read_affect_cell("valence", "-0,5"), read_affect_cell("valence", "nan")
    ({'valence': '-0.5'}, {})

    Raises:
        WrongLabelError: no number, or not in -1 to 1.
    """
    value = read_number(text) if text else math.nan
    if value is None:
        raise WrongLabelError(f"{column} {text!r} is not a number; allowed: -1 to 1, or empty")
    if math.isnan(value) or value in NO_AFFECT:
        return {}
    if not -1.0 <= value <= 1.0:
        raise WrongLabelError(f"{column} {value:g} is not in -1 to 1")
    return {column: text.replace(",", ".")}


def read_unit_cell(column: str, text: str, scale: UnitScale) -> dict[str, str]:
    """The cell of a unit: empty where it was not coded (blank, 9, 999 or below 0).

    Args:
        column: AU12 for an intensity, AU12_present for the other scales.
        text: the cell.
        scale: what its number is; a probability becomes presence, from 0.5 on.

    Raises:
        WrongLabelError: no number, or out of range.
    """
    value = read_number(text) if text else math.nan
    if value is None:
        raise WrongLabelError(f"{column} {text!r} is not a number")
    if math.isnan(value) or value in NOT_CODED or value < 0:
        return {}
    if scale == "presence" and value not in (0.0, 1.0):
        raise WrongLabelError(f"{column} {text!r} is neither 0 nor 1")
    if scale == "probability" and value > 1:
        raise WrongLabelError(f"{column} {text!r} is not in 0 to 1")
    if value > MAXIMUM_INTENSITY:
        raise WrongLabelError(f"{column} {text!r} is not in 0 to 5")
    return {column: f"{value:g}" if scale == "intensity" else str(int(value >= _LIKELY))}
