"""Lists of images with labels: AffectNet's, `path,emotion`, RAF-DB's, tables of action units.

With a header, columns are known by name, in any order (AffectNet's manual and automatic lists:
subDirectory_filePath, face_x, face_y, face_width, face_height, facial_landmarks, expression,
valence, arousal). Without one, by their number: path and emotion; these with valence and arousal;
AffectNet's nine, FERPlus's twelve, ExpW's eight. Of several faces in one image the largest counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path

from sfe_core.corpus.annotations.records import caption_column
from sfe_core.corpus.importing.entries import Entry, Problems
from sfe_core.corpus.importing.open_list import open_list
from sfe_core.corpus.tables.cells import read_cells
from sfe_core.corpus.tables.classes import WrongLabelError
from sfe_core.corpus.tables.columns import Columns, find_columns
from sfe_core.corpus.tables.numbering import Evidence, column_hints, name_hints, place_hints
from sfe_core.corpus.tables.tables import Table, read_number
from sfe_core.errors import UserError
from sfe_core.wording import listed

_COLUMNS_SHOWN = 12
_NAMES_SEEN = 50_000  # of a long list: names of one set are alike


def ignored_columns(path: Path) -> list[str]:
    """Columns of a list that are not taken over, landmarks among them: they are found anew."""
    table, columns = _opened(path)
    used = columns.used | {caption_column(table)}
    return [name for place, name in enumerate(table.names) if place not in used]


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

    largest, height_of = _largest_faces(table, columns), _height(table)
    caption = caption_column(table)
    # OpenFace writes a line for every picture, and there whether it found a face.
    success = table.column("success") if "confidence" in table.columns else None
    for number, cells in table.rows(torn):
        where, image = f"{path.name}:{number}", cells[columns.image or 0]
        if not image or ".." in image.replace("\\", "/").split("/"):
            problems.add(where, "bad line", f"image {image!r}")
            continue
        if height_of and image in largest and height_of(cells) < largest[image]:
            problems.add(where, "another face", f"{image}: another line has a larger face")
            continue
        if success is not None and read_number(cells[success]) == 0:
            problems.add(where, "unlabelled", f"{image}: OpenFace found no face (success 0)")
            continue
        try:
            labels = read_cells(cells, columns, scheme)
        except WrongLabelError as error:
            problems.add(where, "wrong label", f"{image}: {error}")
            continue
        text = " ".join(cells[caption].split()) if caption is not None else ""
        if text and columns.emotion is not None and not cells[columns.emotion]:
            labels.pop("emotion", None)  # nothing is said, rather than "none of the eight"
        yield Entry(where, image, labels, text or None)


def _height(table: Table) -> Callable[[list[str]], float] | None:
    """How high the face of a row is; None where no column tells (ExpW, py-feat, AffectNet)."""
    bottom, top = table.column("face_bottom"), table.column("face_top")
    height = table.column("face_height", "facerectheight")
    if height is not None:
        return lambda cells: read_number(cells[height]) or 0.0
    if top is None or bottom is None:
        return None
    return lambda cells: (read_number(cells[bottom]) or 0.0) - (read_number(cells[top]) or 0.0)


def _largest_faces(table: Table, columns: Columns) -> dict[str, float]:
    """Image → height of its largest face, of images that have lines for several."""
    height_of = _height(table)
    if height_of is None:
        return {}
    largest: dict[str, float] = {}
    several: set[str] = set()
    for _, cells in table.rows(lambda number, found: None):
        image, height = cells[columns.image or 0], height_of(cells)
        if height != largest.setdefault(image, height):
            several.add(image)
            largest[image] = max(largest[image], height)
    return {image: largest[image] for image in several}


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
    table = open_list(path)
    return table, _list_columns(table)


def _list_columns(table: Table) -> Columns:
    """What the columns of a list mean.

    Raises:
        UserError: no column names the image, or none says anything of it.
    """
    columns = find_columns(table)
    there = listed(table.names, _COLUMNS_SHOWN)
    if columns.image is None:
        raise UserError(
            table.path, f"no column names the image; there are {there}", "call it `path`"
        )
    if not columns.tell_something and caption_column(table) is None:
        raise UserError(
            table.path,
            f"no column says anything of the images; there are {there}",
            "known: emotion (or expression, label), valence, arousal, identity, age, gender, "
            "ethnicity, AU1 … AU46, text (or caption)",
        )
    return columns
