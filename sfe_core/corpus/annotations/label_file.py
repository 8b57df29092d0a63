"""What is known of the photos: labels.csv, in the form `synthesize` writes or without a header.

With a header: a `key` column (or file, path, image, …), and any of `emotion` (or expression, label,
…), `valence`, `arousal`, `identity`; AU1 … AU46 (intensity 0 to 5), AU1_present … (0 or 1). Every
other column is kept under `label_<name>`; captions know of age, gender or sex, ethnicity or race.
Without one: `path,emotion` a line, as AffectNet-style lists have it. The emotion is a name, or a
number: AffectNet's in both of sfe's own forms (a `key` column, or no header) unless the file shows
another set's, which is otherwise asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sfe_core.corpus.tables.cells import read_cells
from sfe_core.corpus.tables.classes import WrongLabelError, check_scheme
from sfe_core.corpus.tables.column_names import ATTRIBUTE_COLUMNS, open_labels
from sfe_core.corpus.tables.columns import Columns, find_columns
from sfe_core.corpus.tables.key_matcher import KeyMatcher
from sfe_core.corpus.tables.numbering import Evidence, ask, column_hints, name_hints, reading
from sfe_core.corpus.tables.tables import Table, Torn
from sfe_core.errors import UserError
from sfe_core.files import check_key
from sfe_core.wording import listed

COLUMNS_SHOWN = 12
_SHOWN = 3


@dataclass(frozen=True)
class LabelRow:
    """A line of a label file: its number, the photo as listed, and cells by column."""

    line: int
    listed: str
    cells: dict[str, str]


@dataclass(frozen=True)
class LabelFile:
    """A label file, read once: its rows, the names of its columns; the others as in `Labels`."""

    path: Path
    rows: list[LabelRow]
    columns: tuple[str, ...] = ()
    scheme: str | None = None
    notes: tuple[str, ...] = ()
    keyed: bool = False  # its photos are listed by keys

    def photo_of(self, row: LabelRow, matcher: KeyMatcher) -> str | None:
        """The key of the photo that a row is about; None where there is none.

        A name that is listed without its folder counts if one photo bears it; a key is not a name.
        """
        key = matcher.tail(row.listed)
        if key is None and not self.keyed and len(named := matcher.named(row.listed)) == 1:
            return named[0]
        return key


def read_label_file(path: Path, scheme: str | None = None) -> LabelFile:
    """Read a label file, whatever photos there are.

    Args:
        path: the table; no file means no labels.
        scheme: what numbers mean; None to tell it from the file.

    Raises:
        UserError: a value that is not an emotion, number or key, with file, line and what is
            allowed; or numbers of which nothing says whose they are.
    """
    if not path.is_file() or not path.read_bytes().strip():
        return LabelFile(path, [])
    table = open_labels(path)
    if table.encoding == "latin-1":
        raise UserError(path, "is neither UTF-8 nor UTF-16", "save it as UTF-8 CSV")
    own = not table.headed or "key" in table.columns
    columns = find_columns(table, own)
    image = columns.image
    if image is None:
        there = listed(table.names, COLUMNS_SHOWN)
        raise UserError(
            f"{path}:{table.first_line}",
            f"no column names the photo; there are {there}",
            "call it key",
        )
    asked = check_scheme(scheme, "sfe.yaml: photos.classes") if scheme else None
    told, notes = _scheme(path, table, columns, image, own, asked)
    if columns.of_other_scale:
        raise UserError(path, columns.told[0], "give it in -1 to 1 or remove the column")
    notes += columns.told
    extras = _extra_columns(table, columns)
    keyed = table.headed and table.columns[image] == "key"
    rows = []
    for number, cells in table.rows(_refuse_torn(path)):
        where, shown = f"{path}:{number}", cells[image]
        if keyed:
            check_key(shown, where)
        else:
            _refuse_climbing(shown, where)
        try:
            found = read_cells(cells, columns, told)
        except WrongLabelError as error:
            raise UserError(where, str(error), "correct it") from error
        if columns.emotion is not None and not cells[columns.emotion]:
            del found["emotion"]  # a blank is not the label "none of the eight"
        found = {name: cell for name, cell in found.items() if name not in ATTRIBUTE_COLUMNS}
        found |= {name: cells[place] for name, place in extras.items() if cells[place]}
        rows.append(LabelRow(number, shown, found))
    scheme = told if columns.numbers_seen else None
    return LabelFile(path, rows, table.names, scheme, tuple(notes), keyed)


def join_rows(
    named: Iterable[tuple[str, LabelRow]],
) -> tuple[dict[str, dict[str, str]], list[str]]:
    """What all rows together say of each photo; where they differ, the first stands.

    Returns:
        Cells by key; and a sentence on the photos of which rows differ, if there are any.
    """
    cells: dict[str, dict[str, str]] = {}
    first: dict[str, int] = {}
    differing: list[str] = []
    for key, row in named:
        before = cells.setdefault(key, {})
        told = [
            f"{name} {before[name] or 'none'}, then {cell or 'none'}"
            for name, cell in row.cells.items()
            if before.get(name, cell) != cell
        ]
        if told:
            differing.append(f"{key} (lines {first[key]} and {row.line}: {'; '.join(told)})")
        first.setdefault(key, row.line)
        cells[key] = row.cells | before
    if not differing:
        return cells, []
    shown = listed(differing, _SHOWN)
    count = "1 line contradicts" if len(differing) == 1 else f"{len(differing)} lines contradict"
    return cells, [f"{count} an earlier one, which stands: {shown}"]


def _scheme(
    path: Path, table: Table, columns: Columns, image: int, own: bool, asked: str | None
) -> tuple[str | None, list[str]]:
    """Whose numbers the emotions are, and what to say of it; None where there are none."""
    if not columns.numbers_seen:
        return asked, []
    images = (cells[image] for _, cells in table.rows(_refuse_torn(path)))
    hints = (*column_hints(table), *name_hints(images))
    evidence = Evidence(columns.numbers_seen, hints, columns.valences)
    if asked:
        doubt = evidence.doubt(asked)
        return asked, [f"emotions are read as {asked}'s numbers, but {doubt}"] if doubt else []
    if evidence.scheme:
        return evidence.scheme, []
    possible = "affectnet" in evidence.fitting and all("affectnet" in hint for hint in hints)
    if own and possible and not evidence.is_raf_shaped:
        found = reading(columns.numbers_seen, "affectnet")
        note = f"emotions are numbers, read as AffectNet's ({found}), as the form of the file says"
        return "affectnet", [f"{note}; if they are another set's, name it in photos.classes"]
    raise ask(str(path), evidence, "name it in sfe.yaml: photos.classes, or --set photos.classes=…")


def _extra_columns(table: Table, columns: Columns) -> dict[str, int]:
    """Columns that are kept as they are: name → place.

    Raises:
        UserError: two of one name.
    """
    known = columns.used - {columns.texts.get(name) for name in ATTRIBUTE_COLUMNS}
    extras: dict[str, int] = {}
    for place, name in enumerate(table.names):
        plain = table.columns[place]
        name = plain if plain in ATTRIBUTE_COLUMNS else name
        if place in known or not name:
            continue
        if name in extras:
            raise UserError(
                f"{table.path}:{table.first_line}",
                f"columns {extras[name] + 1} and {place + 1} are both called {name!r}",
                "rename or remove one of them",
            )
        extras[name] = place
    return extras


def _refuse_torn(path: Path) -> Torn:
    def refuse(number: int, found: str) -> None:
        raise UserError(f"{path}:{number}", found, "correct it")

    return refuse


def _refuse_climbing(path: str, where: str) -> None:
    if ".." in path.replace("\\", "/").split("/"):
        raise UserError(where, f"path {path!r} holds `..`", "write the path without it")
