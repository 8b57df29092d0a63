"""Lists of images with labels: AffectNet's, `path,emotion`, RAF-DB's, tables of action units.

With a header, columns are known by name, in any order (AffectNet's manual and automatic lists:
subDirectory_filePath, face_x, face_y, face_width, face_height, facial_landmarks, expression,
valence, arousal). Without one, by their number: path and emotion; these with valence and arousal;
or AffectNet's nine.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sfe_core.corpus.action_units import MAXIMUM_INTENSITY, read_unit_column
from sfe_core.corpus.importing.classes import WrongLabelError, read_class
from sfe_core.corpus.importing.entries import Entry, Problems
from sfe_core.corpus.importing.tables import Table, open_table
from sfe_core.errors import UserError

_AFFECTNET = (
    "path", "face_x", "face_y", "face_width", "face_height", "facial_landmarks",
    "expression", "valence", "arousal",
)  # fmt: skip
_WITHOUT_HEADER = {
    2: ("path", "emotion"),
    4: ("path", "emotion", "valence", "arousal"),
    9: _AFFECTNET,
}
_EMOTION_COLUMNS = ("emotion", "expression", "exp", "label", "class", "expr", "emotion_label")
_BOX_COLUMNS = ("face_x", "face_y", "face_width", "face_height")
# Name in somebody's table → column of labels.csv.
_TEXT_COLUMNS = {
    "identity": "identity", "subject": "identity", "subject_id": "identity", "person": "identity",
    "age": "age", "gender": "gender", "sex": "gender", "ethnicity": "ethnicity",
    "race": "ethnicity",
}  # fmt: skip
# AffectNet's "uncertain" for valence and arousal, and BP4D's "not coded" for units.
_NO_AFFECT, _NOT_CODED = -2.0, 9.0


@dataclass(frozen=True)
class _Columns:
    """Which cell of a row goes where."""

    image: int
    emotion: int | None
    numbers: dict[str, int]  # valence, arousal and boxes
    texts: dict[str, int]
    units: dict[str, int]  # AU12 or AU12_present → place


def ignored_columns(path: Path) -> list[str]:
    """Columns of a list that are not taken over, landmarks among them: they are found anew."""
    table = open_table(path)
    columns = _columns(table)
    used = {columns.image, columns.emotion, *columns.numbers.values(), *columns.texts.values()}
    used |= set(columns.units.values())
    return [name for place, name in enumerate(table.columns) if place not in used]


def read_list(path: Path, scheme: str | None, problems: Problems) -> Iterator[Entry]:
    """Entries of a list.

    Args:
        path: the table.
        scheme: what numbers in the emotion's column mean, a key of SCHEMES; None refuses them.
        problems: takes the lines that cannot be used.

    Raises:
        UserError: no column names the image, or none says anything of it.
    """
    table = open_table(path)
    columns = _columns(table)
    for where, cells in table.rows(problems):
        if not table.columns and len(cells) < 1 + max(columns.numbers.values(), default=1):
            problems.add(where, "bad line", f"{len(cells)} cells")
            continue
        image = cells[columns.image]
        if not image or ".." in image.replace("\\", "/").split("/"):
            problems.add(where, "bad line", f"image {image!r}")
            continue
        try:
            labels = _labels(cells, columns, scheme)
        except WrongLabelError as error:
            problems.add(where, "wrong label", f"{image}: {error}")
            continue
        yield Entry(where, image, labels)


def is_list(path: Path) -> bool:
    """Whether a table can be read as a list: it names images and something of them."""
    try:
        _columns(open_table(path))
    except UserError:
        return False
    return True


def _columns(table: Table) -> _Columns:
    if not table.columns:
        return _columns_by_count(table)
    image = table.image_column
    if image is None:
        raise UserError(
            table.path,
            f"no column names the image; there are {', '.join(table.columns[:12])}",
            "call it `path`",
        )
    emotion = table.column(*_EMOTION_COLUMNS)
    known = ("valence", "arousal", *_BOX_COLUMNS)
    numbers = {name: table.columns.index(name) for name in known if name in table.columns}
    texts = {
        _TEXT_COLUMNS[name]: place
        for place, name in enumerate(table.columns)
        if name in _TEXT_COLUMNS
    }
    columns = _Columns(image, emotion, numbers, texts, _unit_columns(table, image))
    if emotion is None and not (numbers.keys() - _BOX_COLUMNS or texts or columns.units):
        raise UserError(
            table.path,
            f"no column says anything of the images; there are {', '.join(table.columns[:12])}",
            "known: emotion (or expression, label), valence, arousal, identity, age, gender, "
            "ethnicity, AU1 … AU46",
        )
    return columns


def _columns_by_count(table: Table) -> _Columns:
    count = len(next((cells for _, cells in table.rows(Problems())), []))
    if count not in _WITHOUT_HEADER:
        raise UserError(
            table.path,
            f"{count} columns and no header",
            "give `path,emotion`, AffectNet's nine columns, or a header with their names",
        )
    names = _WITHOUT_HEADER[count]
    numbers = {
        name: names.index(name) for name in ("valence", "arousal", *_BOX_COLUMNS) if name in names
    }
    emotion = next(names.index(name) for name in _EMOTION_COLUMNS if name in names)
    return _Columns(0, emotion, numbers, {}, {})


def _unit_columns(table: Table, image: int) -> dict[str, int]:
    """Columns of units, as AU12 (intensity) or AU12_present, from their names or their values."""
    found: dict[str, int] = {}
    undecided: dict[str, int] = {}
    for place, name in enumerate(table.columns):
        unit = read_unit_column(name) if place != image else None
        if unit is None:
            continue
        if unit.presence is None:
            undecided[unit.code] = place
        else:
            found[f"{unit.code}_present" if unit.presence else unit.code] = place
    if undecided:
        graded = _any_graded(table, list(undecided.values()))
        for code, place in undecided.items():
            found[code if graded else f"{code}_present"] = place
    return found


def _any_graded(table: Table, places: list[int]) -> bool:
    """Whether the columns hold intensities; only 0 and 1 in all of them is presence."""
    for _, cells in table.rows(Problems()):
        for place in places:
            value = _number_or_nan(cells[place])
            if not math.isnan(value) and value not in (0.0, 1.0, -1.0, _NOT_CODED):
                return True
    return False


def _labels(cells: list[str], columns: _Columns, scheme: str | None) -> dict[str, str]:
    """Cells of labels.csv; what the list leaves open is left out."""
    labels: dict[str, str] = {}
    if columns.emotion is not None:
        emotion = read_class(cells[columns.emotion], scheme)
        labels["emotion"] = emotion or ""
    for name, place in columns.numbers.items():
        if name in _BOX_COLUMNS:
            if _number_or_nan(cells[place]) >= 0:
                labels[name] = cells[place]
        else:
            labels |= read_affect_cell(name, cells[place])
    labels |= {name: cells[place] for name, place in columns.texts.items() if cells[place]}
    for name, place in columns.units.items():
        labels |= read_unit_cell(name, cells[place])
    return labels


def read_affect_cell(column: str, text: str) -> dict[str, str]:
    """The cell of valence or arousal: empty where it is blank, nan or AffectNet's -2.

    Raises:
        WrongLabelError: no number, or not in -1 to 1.
    """
    if not text or text.lower() == "nan":
        return {}
    value = _number_or_nan(text)
    if math.isnan(value):
        raise WrongLabelError(f"{column} {text!r} is no number")
    if value == _NO_AFFECT:
        return {}
    if not -1.0 <= value <= 1.0:
        raise WrongLabelError(f"{column} {value:g} is not in -1 to 1")
    return {column: text}


def read_unit_cell(column: str, text: str) -> dict[str, str]:
    """The cell of a unit: empty where it was not coded (blank, 9 or below 0).

    Args:
        column: AU12 for an intensity, AU12_present for 0 or 1.
        text: the cell.

    Raises:
        WrongLabelError: no number, or out of range.
    """
    if not text or text.lower() == "nan":
        return {}
    value = _number_or_nan(text)
    if math.isnan(value):
        raise WrongLabelError(f"{column} {text!r} is no number")
    if value == _NOT_CODED or value < 0:
        return {}
    if column.endswith("_present"):
        if value not in (0.0, 1.0):
            raise WrongLabelError(f"{column} {text!r} is neither 0 nor 1")
        return {column: str(int(value))}
    if value > MAXIMUM_INTENSITY:
        raise WrongLabelError(f"{column} {text!r} is not in 0 to 5")
    return {column: f"{value:g}"}


def _number_or_nan(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
