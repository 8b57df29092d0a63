"""Lists of images with labels: AffectNet's, `path,emotion`, RAF-DB's, tables of action units.

With a header, columns are known by name, in any order (AffectNet's manual and automatic lists:
subDirectory_filePath, face_x, face_y, face_width, face_height, facial_landmarks, expression,
valence, arousal). Without one, by their number: path and emotion; these with valence and arousal;
or AffectNet's nine.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path

from sfe_core.corpus.cells import read_cells
from sfe_core.corpus.classes import WrongLabelError
from sfe_core.corpus.columns import Columns, find_columns, open_labels
from sfe_core.corpus.importing.entries import Entry, Problems
from sfe_core.corpus.numbering import Evidence, column_hints, name_hints, place_hints
from sfe_core.corpus.tables import Table, read_number
from sfe_core.errors import UserError

_NAMES_SEEN = 50_000  # of a long list: names of one set are alike


def ignored_columns(path: Path) -> list[str]:
    """Columns of a list that are not taken over, landmarks among them: they are found anew."""
    table, columns = _opened(path)
    return [name for place, name in enumerate(table.names) if place not in columns.used]


def told_columns(path: Path) -> list[str]:
    """What the values of a list tell of columns whose names do not, a sentence each."""
    return list(_opened(path)[1].told)


def read_list(path: Path, scheme: str | None, problems: Problems) -> Iterator[Entry]:
    """Entries of a list.

    Args:
        path: the table.
        scheme: what numbers in the emotion's column mean; None refuses them.
        problems: takes the lines that cannot be used.

    Raises:
        UserError: no column names the image, or none says anything of it.
    """
    table, columns = _opened(path)

    def torn(number: int, found: str) -> None:
        problems.add(f"{path.name}:{number}", "bad line", found)

    largest = _largest_faces(table, columns)
    for number, cells in table.rows(torn):
        where, image = f"{path.name}:{number}", cells[columns.image or 0]
        if not image or ".." in image.replace("\\", "/").split("/"):
            problems.add(where, "bad line", f"image {image!r}")
            continue
        if largest.get(image, number) != number:
            problems.add(where, "another face", f"{image}: line {largest[image]} has a larger one")
            continue
        try:
            labels = read_cells(cells, columns, scheme)
        except WrongLabelError as error:
            problems.add(where, "wrong label", f"{image}: {error}")
            continue
        yield Entry(where, image, labels)


def _largest_faces(table: Table, columns: Columns) -> dict[str, int]:
    """Image → line of its largest face, where a list has a line for every face (ExpW)."""
    if not {"face_id", "face_top", "face_bottom"} <= set(table.columns):
        return {}
    top, bottom = table.columns.index("face_top"), table.columns.index("face_bottom")
    largest: dict[str, tuple[float, int]] = {}
    for number, cells in table.rows(lambda number, found: None):
        height = (read_number(cells[bottom]) or 0.0) - (read_number(cells[top]) or 0.0)
        image = cells[columns.image or 0]
        if height > largest.get(image, (-math.inf, 0))[0]:
            largest[image] = height, number
    return {image: number for image, (_, number) in largest.items()}


def numbers_of_list(path: Path, images: Path | None = None) -> Evidence | None:
    """What is known of the numbers that a list has for emotions; None where it has none.

    Args:
        path: the table.
        images: the folder of its images, if the user named one.

    Raises:
        UserError: no column names the image, or none says anything of it.
    """
    table, columns = _opened(path)
    if not columns.numbers_seen:
        return None
    rows = islice(table.rows(lambda number, found: None), _NAMES_SEEN)
    names = name_hints(cells[columns.image or 0] for _, cells in rows)
    hints = (*column_hints(table), *names, *place_hints((path, images)))
    return Evidence(columns.numbers_seen, hints, columns.valences)


def _opened(path: Path) -> tuple[Table, Columns]:
    """A list and what its columns mean, which takes a whole reading."""
    status = path.stat()
    return _open(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=2)
def _open(path: Path, changed_ns: int, size: int) -> tuple[Table, Columns]:
    del changed_ns, size  # a list that was written anew is read anew
    table = open_labels(path)
    return table, _list_columns(table)


def _list_columns(table: Table) -> Columns:
    """What the columns of a list mean.

    Raises:
        UserError: no column names the image, or none says anything of it.
    """
    columns = find_columns(table)
    there = ", ".join(table.names[:12])
    if columns.image is None:
        raise UserError(
            table.path, f"no column names the image; there are {there}", "call it `path`"
        )
    if not columns.tell_something:
        raise UserError(
            table.path,
            f"no column says anything of the images; there are {there}",
            "known: emotion (or expression, label), valence, arousal, identity, age, gender, "
            "ethnicity, AU1 … AU46",
        )
    return columns
