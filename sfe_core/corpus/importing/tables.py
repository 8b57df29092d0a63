"""Tables as people have them: any common separator, with or without a header, UTF-8 or not."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from sfe_core.corpus.importing.classes import is_class_name
from sfe_core.corpus.importing.entries import Problems
from sfe_core.errors import UserError

_SEPARATORS = ",;\t "
_SAMPLE_BYTES = 1 << 16
_IMAGE_COLUMNS = (
    "subdirectory_filepath", "key", "path", "image_path", "img_path", "filepath", "file_path",
    "filename", "file_name", "file", "image", "image_name", "image_id", "img", "photo", "pth",
)  # fmt: skip


@dataclass(frozen=True)
class Table:
    """A delimited text file.

    Attributes:
        path: the file.
        separator: between its cells.
        encoding: of its bytes.
        columns: lower-case names of its columns; empty where it has no header.
    """

    path: Path
    separator: str
    encoding: str
    columns: tuple[str, ...]

    def rows(self, problems: Problems) -> Iterator[tuple[str, list[str]]]:
        """(file:line, stripped cells) of every row below the header that is not blank.

        Rows with another number of cells than the header are problems, not errors.
        """
        with open(self.path, newline="", encoding=self.encoding) as stream:
            lines = _read(self.path, stream, self.separator)
            for place, (number, cells) in enumerate(lines):
                if place == 0 and self.columns:
                    continue
                where = f"{self.path.name}:{number}"
                if self.columns and len(cells) != len(self.columns):
                    found = f"{len(cells)} cells, the header has {len(self.columns)}"
                    problems.add(where, "bad line", found)
                    continue
                yield where, cells

    def column(self, *names: str) -> int | None:
        """The place of the first of `names` that is a column."""
        return next((self.columns.index(name) for name in names if name in self.columns), None)

    @property
    def image_column(self) -> int | None:
        """The place of the column that names the image."""
        return self.column(*_IMAGE_COLUMNS)


def open_table(path: Path) -> Table:
    """Find out how a table is written, from its first lines.

    Raises:
        UserError: it cannot be read, or is empty.
    """
    try:
        with open(path, "rb") as stream:
            sample = stream.read(_SAMPLE_BYTES)
    except OSError as error:
        raise UserError(path, f"cannot be read ({error.strerror})", "check the path") from error
    encoding = _encoding(path)
    text = sample.decode(encoding, errors="replace")
    first = next((line for line in text.splitlines() if line.strip()), None)
    if first is None:
        raise UserError(path, "is empty", "give the list of a data set")
    separator = next((mark for mark in _SEPARATORS if mark in first.strip()), ",")
    cells = [cell.strip() for cell in next(csv.reader([first], delimiter=separator))]
    columns = tuple(cell.lower() for cell in cells) if _is_header(cells) else ()
    return Table(path, separator, encoding, columns)


def _encoding(path: Path) -> str:
    """UTF-8 if the whole file is, else Latin-1, which any bytes are."""
    try:
        with open(path, encoding="utf-8-sig") as stream:
            for _ in stream:
                pass
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8-sig"


def _is_header(cells: list[str]) -> bool:
    """Names only: a row of data has a number or a file's name with its suffix."""
    names = [cell.lower() for cell in cells]
    if any(name in _IMAGE_COLUMNS for name in names):
        return True
    if any(_is_number(cell) or is_class_name(cell) for cell in cells):
        return False
    return not any("/" in cell or "\\" in cell or "." in cell for cell in cells)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read(path: Path, stream: TextIO, separator: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(stream, delimiter=separator, skipinitialspace=separator != "\t")
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                yield reader.line_num, stripped
    except csv.Error as error:
        raise UserError(
            f"{path}:{reader.line_num}", f"is no table ({error})", "save it as CSV"
        ) from error
