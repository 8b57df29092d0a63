"""Tables as people have them: any common separator and encoding, with or without a header.

Understood: comma, semicolon, tab or blanks between cells; UTF-8 with or without a byte order mark,
UTF-16 of either order, Latin-1; Excel's `sep=;` line; decimal commas where the comma does not
separate cells. What the columns mean is `columns`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TextIO

from sfe_core.errors import UserError
from sfe_core.file_kinds import PICTURE_SUFFIXES

_SEPARATORS = ",;\t "
_SAMPLE_BYTES = 1 << 16
_SEPARATOR_LINE = re.compile(r"sep=(.)", re.IGNORECASE)
# First bytes of files that are called tables by mistake.
_NO_TEXT = {
    b"PK\x03\x04": "an Excel workbook or a ZIP archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"PAR1": "a Parquet file",
    b"\x1f\x8b": "a gzip archive",
    b"\xff\xd8\xff": "a picture",
    b"\x89PNG": "a picture",
    b"%PDF": "a PDF",
    b"{": "JSON",
}
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")

Lines = Callable[[], Iterator[tuple[int, list[str]]]]
Torn = Callable[[int, str], None]


@dataclass(frozen=True)
class Table:
    """Rows of cells, wherever they come from.

    Attributes:
        path: the file, for messages.
        names: of its columns, as written; empty where nothing tells them.
        lines: gives (number of the line, stripped cells) of all rows, anew at every call.
        separator: between cells.
        encoding: of the file's bytes.
        headed: whether `names` stand in the file.
        first_line: where the first row stands, for messages.
    """

    path: Path
    names: tuple[str, ...]
    lines: Lines
    separator: str = ","
    encoding: str = "utf-8-sig"
    headed: bool = True
    first_line: int = 1

    @property
    def columns(self) -> tuple[str, ...]:
        """The names in lower case, with `_` for blanks and hyphens."""
        return tuple(plain_name(name) for name in self.names)

    def rows(self, torn: Torn) -> Iterator[tuple[int, list[str]]]:
        """(line, stripped cells) of every row that has as many cells as there are names.

        Args:
            torn: told of every other row: its line, and what was found.
        """
        for number, cells in self.lines():
            if self.names and len(cells) != len(self.names):
                first = "the header" if self.headed else "the first line"
                torn(number, f"{len(cells)} cells, {first} has {len(self.names)}")
            else:
                yield number, cells

    def column(self, *names: str) -> int | None:
        """The place of the first of `names` (in plain form) that is a column."""
        columns = self.columns
        return next((columns.index(name) for name in names if name in columns), None)


def plain_name(name: str) -> str:
    """A column's name as it is compared: `Image name` is image_name."""
    return re.sub(r"[\s_-]+", "_", name.strip().lower())


def open_table(path: Path, is_header: Callable[[list[str]], bool]) -> Table:
    """Find out how a table is written, from its first lines.

    Args:
        path: the file.
        is_header: whether the cells of the first row are names of columns.

    Raises:
        UserError: it cannot be read, or is empty.
    """
    try:
        with open(path, "rb") as stream:
            sample = stream.read(_SAMPLE_BYTES)
    except OSError as error:
        raise UserError(path, f"cannot be read ({error.strerror})", "check the path") from error
    kind = next((kind for mark, kind in _NO_TEXT.items() if sample.startswith(mark)), None)
    if kind is not None:
        raise UserError(path, f"is {kind}, no table in text", "save it as CSV")
    encoding = _encoding(path, sample)
    text = sample.decode(encoding, "replace").splitlines()
    lines = [(number, line) for number, line in enumerate(text, 1) if line.strip()]
    declared = _SEPARATOR_LINE.fullmatch(lines[0][1].strip()) if lines else None
    lines = lines[1:] if declared else lines
    if not lines:
        raise UserError(path, "is empty", "write a header and a line per image")
    number, line = lines[0]
    separator = declared[1] if declared else _separator(line.strip(" "))
    first = _cells(line, separator)
    names = tuple(first) if is_header(first) else ()
    skipped = bool(declared) + bool(names)
    read = partial(_read, path, encoding, separator, skipped)
    return Table(path, names, read, separator, encoding, bool(names), number)


def read_number(text: str) -> float | None:
    """A number, with a decimal point or comma; None for anything else."""
    try:
        return float(text)
    except ValueError:
        return float(text.replace(",", ".")) if _DECIMAL_COMMA.fullmatch(text) else None


def names_a_picture(cell: str) -> bool:
    """Whether a cell is a file's name that ends as pictures do."""
    return PurePosixPath(cell.replace("\\", "/")).suffix.lower() in PICTURE_SUFFIXES


def _encoding(path: Path, sample: bytes) -> str:
    """UTF-16 by its mark or its zero bytes; UTF-8 if the whole file is; else Latin-1."""
    if sample.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if sample[1:2] == b"\0" or sample[:1] == b"\0":
        return "utf-16-le" if sample[1:2] == b"\0" else "utf-16-be"
    try:
        with open(path, encoding="utf-8-sig") as stream:
            for _ in stream:
                pass
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8-sig"


def _separator(line: str) -> str:
    """The separator of a line: the first that leaves no other one in the first cell."""
    splitting = [mark for mark in _SEPARATORS if len(_cells(line, mark)) > 1]
    clean = (
        mark
        for mark in splitting
        if not any(other in _cells(line, mark)[0] for other in _SEPARATORS.strip() if other != mark)
    )
    return next(clean, splitting[0] if splitting else ",")


def _cells(line: str, separator: str) -> list[str]:
    return next(csv_cells([line], separator), (0, list[str]()))[1]


def csv_cells(lines: list[str] | TextIO, separator: str) -> Iterator[tuple[int, list[str]]]:
    """(line, stripped cells) of every line that is not blank."""
    blanks = separator == " "
    reader = csv.reader(
        (line.strip() for line in lines) if blanks else lines,
        delimiter=separator,
        skipinitialspace=separator != "\t",
    )
    for cells in reader:
        stripped = [cell.strip() for cell in cells]
        if separator != ",":
            stripped = [
                cell.replace(",", ".") if _DECIMAL_COMMA.fullmatch(cell) else cell
                for cell in stripped
            ]
        if any(stripped):
            yield reader.line_num, stripped


def _read(
    path: Path, encoding: str, separator: str, skipped: int
) -> Iterator[tuple[int, list[str]]]:
    """The rows of a file but the first `skipped`."""
    number = 0
    try:
        with open(path, newline="", encoding=encoding) as stream:
            for place, (number, cells) in enumerate(csv_cells(stream, separator)):
                if place >= skipped:
                    yield number, cells
    except csv.Error as error:
        where = f"{path}:{number + 1}"
        raise UserError(where, f"is not a table ({error})", "save it as CSV") from error
    except UnicodeDecodeError as error:
        raise UserError(path, f"is not text ({error})", "save it as UTF-8 CSV") from error
