"""Expressions out of CSV and JSON files: tables that people write, and what detectors wrote.

Tables of one's own have the columns of `OWN_FIELDS`, action units (AU12, AU12L, AU12R; 0 to 5) and
ARKit's blendshapes by name; any other column is refused. `like` names a photo, from the table's
folder on, and `au_change` what its units gain or lose (`AU12=+2;AU4=-1`, in JSON an object, too).
Detectors' files are known by columns that only they have, and their other columns are passed over:

- OpenFace 2 (Baltrusaitis et al., FG 2018): `AU12_r` 0 to 5, `AU12_c` presence, `success`.
- py-feat (Cheong et al., Affective Science 4, 2023): `AU12` 0 to 1, `FaceScore`.
- LibreFace (Chang et al., WACV 2024): `au_12_intensity` 0 to 5.
- MediaPipe's face landmarker: JSON lists of categories with `categoryName` (or `category_name`) and
  `score`, the 52 blendshapes and `_neutral`.
- FLAME's expression and jaw in .npz or .npy files, see `flame_code`.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfe_core.controls.action_units import MAXIMUM_INTENSITY, read_unit_column, scale_of_values
from sfe_core.controls.asked_expression import AskedExpression, without_exclusive
from sfe_core.controls.expression_change import ExpressionChange
from sfe_core.controls.expression_text import (
    compose,
    join_sides,
    read_change,
    read_emotion,
    read_mixture,
    read_unit_name,
    read_value,
)
from sfe_core.controls.facial_actions import ASKABLE_UNITS
from sfe_core.controls.flame_code import is_flame_file, read_flame
from sfe_core.controls.flame_translator import load_translator
from sfe_core.errors import UserError
from sfe_core.faces.emoca.flame_head import FLAME_ASSET
from sfe_core.faces.head import ACTION_NAMES

OWN_FIELDS = (
    *("name", "prompt", "seed", "emotion", "intensity", "mix", "valence", "arousal"),
    *("like", "au_change"),
)
_BESIDE_A_WORD = frozenset({"intensity", "mix", "valence", "arousal"})  # what no prompt can say
_BLENDSHAPES = {name.lower(): name for name in ACTION_NAMES}
# Columns that only a detector's file has, in lower case.
_DETECTORS_COLUMNS = frozenset({"success", "confidence", "facescore", "facerectx", "timestamp"})
_FORM = "a number"
OPENFACE, PY_FEAT, LIBREFACE = "OpenFace", "py-feat", "LibreFace"
DETECTORS = (OPENFACE, PY_FEAT, LIBREFACE)
_NAMING = ("name", "input", "filename", "file", "file_name", "image", "image_path", "path")
_SURE = ("confidence", "facescore")

Row = Mapping[str, Any]


@dataclass(frozen=True)
class AskedRow:
    """A line of a table: a picture.

    Args:
        where: file and line, for messages.
        name: sets it apart; "" where the table has none.
        prompt: text of its own; None = that of the request.
        seed: of its noise; None = that of the request.
        expression: None = nothing is said of it.
        by_word: it is asked for by an emotion's word alone, which a prompt can say.
        like: photo whose face guides; None = that of the request.
        change: of that photo's own expression.
    """

    where: str
    name: str = ""
    prompt: str | None = None
    seed: int | None = None
    expression: AskedExpression | None = None
    by_word: bool = False
    like: Path | None = None
    change: ExpressionChange | None = None


def read_table(path: Path) -> list[AskedRow]:
    """The pictures that a file asks for, in order, without lines where OpenFace saw no face.

    Raises:
        UserError: no such file, neither CSV nor JSON, an unknown column, a value that is not
            allowed, a photo that is not there, or nothing in it.
    """
    rows = _json_rows(path) if path.suffix.lower() == ".json" else _csv_rows(path)
    if not rows:
        raise UserError(path, "holds no line", "write one per picture below the names of columns")
    detector = _is_detectors(rows[0][1])
    rows = [(where, row) for where, row in rows if not (detector and _without_face(row))]
    if not rows:
        raise UserError(path, "the detector found no face in it", "give another file")
    if not detector:
        return [_asked(where, row, path.parent) for where, row in rows]
    scale = _unnamed_scale([row for _, row in rows])
    return [_detected(where, row, scale) for where, row in rows]


@dataclass(frozen=True)
class DetectedFace:
    """What a detector wrote of one face.

    Args:
        where: file and line, for messages.
        tool: who wrote it, by its columns: OpenFace, py-feat or LibreFace; "" of another.
        name: of the picture, as the file has it; "" where no column names it.
        numbered: the line is told by the number of a video's frame alone.
        sure: the detector's confidence that there is a face; 0 where it says nothing.
        units: FACS names to intensities 0 to 5, as measured; empty where no face was found.
    """

    where: str
    tool: str
    name: str
    numbered: bool
    sure: float
    units: Mapping[str, float]


def read_detected(path: Path, more: Sequence[Path] = ()) -> list[list[DetectedFace]]:
    """What a detector wrote into files of one kind, by file; nothing is matched or left out.

    Args:
        more: further files; numbers whose scale no name tells are understood from all together.

    Raises:
        UserError: a file that cannot be read, or that has no intensity of any unit.
    """
    files = [(one, _csv_rows(one)) for one in (path, *more)]
    rows = [row for _, read in files for _, row in read if not _without_face(row)]
    scale = _unnamed_scale(rows)
    return [[_detected_face(where, row, scale) for where, row in read] for _, read in files]


def _detected_face(where: str, row: Row, scale: float) -> DetectedFace:
    said = {name.lower(): str(value) for name, value in row.items()}
    name = next((said[key] for key in _NAMING if key in said), "")
    sure = next((_number(where, said, key) for key in _SURE if key in said), None)
    units = {} if _without_face(row) else _measured(where, row, scale)
    numbered = not name and "frame" in said
    return DetectedFace(where, _tool(said), name, numbered, sure or 0.0, units)


def _tool(said: Mapping[str, str]) -> str:
    if any(name.startswith("facerect") or name == "facescore" for name in said):
        return PY_FEAT
    if any(name.startswith("au") and name.endswith("_intensity") for name in said):
        return LIBREFACE
    return OPENFACE if "confidence" in said or "au01_r" in said else ""


def read_expression(path: Path, flame: str | Path = FLAME_ASSET) -> AskedExpression:
    """The one expression that a file holds.

    Args:
        flame: the user's FLAME, for an .npz or .npy file with its codes (`load_translator`).

    Raises:
        UserError: as `read_table` and `read_flame`; several lines; nothing said of the face.
    """
    if is_flame_file(path):
        code = read_flame(path)
        return load_translator(flame, len(code.expression)).blendshapes(code)
    rows = read_table(path)
    if len(rows) > 1:
        raise UserError(path, f"holds {len(rows)} expressions", "give one, or use --table")
    if rows[0].like is not None or rows[0].change is not None:
        raise UserError(path, "names a photo or its change", "give it by --table")
    if rows[0].expression is None:
        raise UserError(path, "says nothing of the expression", "add AU12, emotion, jawOpen …")
    return rows[0].expression


def _csv_rows(path: Path) -> list[tuple[str, Row]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error
    reader = csv.DictReader(io.StringIO(text), skipinitialspace=True)
    names = [name.strip() for name in reader.fieldnames or ()]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(path, f"has two columns {twice!r}", "keep one of them")
    rows: list[tuple[str, Row]] = []
    for cells in reader:
        where = f"{path.name}:{reader.line_num}"
        if None in cells or None in cells.values():
            raise UserError(where, f"does not have {len(names)} cells", "quote cells with commas")
        pairs = zip(names, cells.values(), strict=True)
        rows.append((where, {name: cell.strip() for name, cell in pairs if cell.strip()}))
    return rows


def _json_rows(path: Path) -> list[tuple[str, Row]]:
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    faces = _mediapipe_faces(data)
    if faces:
        data = faces
    found = data if isinstance(data, list) else [data]
    for number, row in enumerate(found, 1):
        if not isinstance(row, dict):
            raise UserError(f"{path.name}[{number}]", "is not an object", "write a list of objects")
    return [
        (f"{path.name}[{number}]", {name: v for name, v in row.items() if v is not None})
        for number, row in enumerate(found, 1)
    ]


def _unreadable(path: Path, error: Exception) -> UserError:
    remedy = "give a CSV or JSON file, a photo by --expression-of"
    return UserError(path, f"cannot be read ({error})", remedy)


def _mediapipe_faces(data: Any) -> list[dict[str, float]]:
    """Each face's scores by name, wherever in the result its list of categories stands."""
    if isinstance(data, list) and data and all(isinstance(one, dict) for one in data):
        names = [one.get("categoryName", one.get("category_name")) for one in data]
        if all(name is not None and "score" in one for name, one in zip(names, data, strict=True)):
            return [
                {
                    name: one["score"]
                    for name, one in zip(names, data, strict=True)
                    if name != "_neutral"
                }
            ]
    inner = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    return [face for part in inner for face in _mediapipe_faces(part)]


def _asked(where: str, row: Row, folder: Path) -> AskedRow:
    units, blendshapes = [], []
    for name, value in row.items():
        if name.lower() in OWN_FIELDS or name == "_neutral":
            continue
        if name.lower() in _BLENDSHAPES:
            number = read_value(f"{where}: {name}", str(value), _FORM)
            blendshapes.append((_BLENDSHAPES[name.lower()], number))
        elif read_unit_name(name) is not None:
            units.append((name, read_value(f"{where}: {name}", str(value), _FORM)))
        else:
            raise UserError(
                f"{where}: {name}",
                "is unknown",
                f"use {', '.join(OWN_FIELDS)}, action units or ARKit's blendshapes",
            )
    said = {name.lower(): _text(value) for name, value in row.items()}
    intensity, seed = (_number(where, said, field) for field in ("intensity", "seed"))
    if seed is not None and (seed != int(seed) or seed < 0):
        raise UserError(f"{where}: seed", f"{said['seed']}", "give a whole number from 0")
    try:
        word, strength = read_emotion(said["emotion"]) if "emotion" in said else (None, None)
        if strength is not None and intensity is not None:
            raise UserError("intensity", "is given twice", "leave it out of emotion")
        expression = compose(
            word,
            intensity if strength is None else strength,
            read_mixture(said["mix"]) if "mix" in said else (),
            join_sides("", units),
            _number(where, said, "valence"),
            _number(where, said, "arousal"),
            AskedExpression(blendshapes=tuple(blendshapes)) if blendshapes else None,
        )
        change = read_change(said["au_change"].split(";")) if "au_change" in said else None
    except UserError as error:
        raise UserError(where, str(error)) from error
    return AskedRow(
        where,
        said.get("name", ""),
        said.get("prompt"),
        None if seed is None else int(seed),
        expression,
        by_word=word is not None
        and strength is None
        and not (units or blendshapes or _BESIDE_A_WORD & said.keys()),
        like=_photo(where, said, folder),
        change=change,
    )


def _text(value: Any) -> str:
    """A cell as it is typed; an object of JSON as AU12=2,AU4=-1."""
    if isinstance(value, dict):
        return ",".join(f"{name}={number}" for name, number in value.items())
    return str(value)


def _photo(where: str, said: Mapping[str, str], folder: Path) -> Path | None:
    if "like" not in said:
        return None
    photo = folder / Path(said["like"]).expanduser()
    if not photo.is_file():
        raise UserError(f"{where}: like", f"{photo} is not there", "name a photo beside the table")
    return photo


def _detected(where: str, row: Row, scale: float) -> AskedRow:
    """What a detector measured: kept in range, of two opposites the stronger."""
    measured = _measured(where, row, scale)
    units = [(code, value) for code, value in measured.items() if code in ASKABLE_UNITS]
    if not units:
        raise UserError(where, "has no intensity of any action unit", "give a table with AU12_r …")
    asked = without_exclusive(dict(join_sides(where, units)))
    name = next((str(row[key]) for key in ("name", "input", "filename") if key in row), "")
    return AskedRow(where, name, expression=AskedExpression(units=tuple(asked.items())))


def _measured(where: str, row: Row, scale: float) -> dict[str, float]:
    """Units to intensities, kept within 0 and 5."""
    named = _has_named_intensities(row)
    units: dict[str, float] = {}
    for name, value in row.items():
        column = read_unit_column(name)
        if column is None:
            continue
        if column.scale == "intensity" or (column.scale is None and not named):
            factor = 1.0 if column.scale else scale
            number = factor * read_value(f"{where}: {name}", str(value), _FORM)
            if column.code in units:
                raise UserError(f"{where} {name}", "is given twice", "give it once")
            units[column.code] = min(max(number, 0.0), MAXIMUM_INTENSITY)
    return units


def _number(where: str, said: Mapping[str, str], field: str) -> float | None:
    return read_value(f"{where}: {field}", said[field], _FORM) if field in said else None


def _is_detectors(row: Row) -> bool:
    return bool(_DETECTORS_COLUMNS & {name.lower() for name in row}) or _has_named_intensities(row)


def _has_named_intensities(row: Row) -> bool:
    columns = [read_unit_column(name) for name in row]
    return any(column is not None and column.scale == "intensity" for column in columns)


def _without_face(row: Row) -> bool:
    return "success" in row and read_value("success", str(row["success"]), _FORM) == 0


def _unnamed_scale(rows: Sequence[Row]) -> float:
    """What makes intensities of a detector's unnamed numbers: 5 for py-feat's 0 to 1."""
    values = [
        read_value(name, str(value), _FORM)
        for row in rows
        for name, value in row.items()
        if (column := read_unit_column(name)) is not None and column.scale is None
    ]
    return 1.0 if scale_of_values(values) == "intensity" else MAXIMUM_INTENSITY
