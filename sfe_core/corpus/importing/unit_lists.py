"""Lists of images with bare numbers for action units, a column per unit and no header.

| files | content |
| --- | --- |
| all_imgs.txt | `F001_T1_2440:0,1,…` a line: the image, then a number per unit |
| BP4D_train_img_path_fold1.txt | the path of an image a line |
| beside it BP4D_train_label_fold1.txt | the numbers of an image a line, blanks or commas between |

Of two files, a line of one is about the same line of the other, which holds only while both have
the same lines: they are taken for a pair by their names, refused if they have not as many lines
each, and names that lead the numbers are held against the paths. Images are always found by their
names, never by their order.

Which column is which unit stands nowhere in them. It is taken from the set that the images' names
and the number of columns tell (COLUMNS), or as the user says.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from sfe_core.controls.action_units import ACTION_UNITS, UnitScale, scale_of_values
from sfe_core.corpus.importing.entries import Entry, Problems
from sfe_core.corpus.importing.subject_tables import person_of, read_subjects
from sfe_core.corpus.people.subjects import subject_of
from sfe_core.corpus.tables.cells import read_unit_cell
from sfe_core.corpus.tables.classes import WrongLabelError
from sfe_core.corpus.tables.tables import read_number
from sfe_core.errors import UserError

# Set and number of columns → FACS numbers, in the order in which such lists are handed out: the
# twelve units of BP4D and the eight of DISFA on which detectors are compared (K. Zhao, W.-S. Chu
# and H. Zhang, "Deep region and multi-label learning", CVPR 2016), and all twelve of DISFA.
COLUMNS: dict[tuple[str, int], tuple[int, ...]] = {
    ("BP4D", 12): (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24),
    ("DISFA", 8): (1, 2, 4, 6, 9, 12, 25, 26),
    ("DISFA", 12): (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26),
}
_IMAGES = ("img_path", "image_path", "img_list", "image_list", "images", "imgs")
_LABELS = ("label", "labels")
_BETWEEN = re.compile(r"[\s,;]+")
# The name, and behind its last colon two numbers or more: a path may begin with a drive's letter.
_NAMED = re.compile(r"(?P<name>.+):\s*(?P<numbers>[-\d.]+(?:[\s,;]+[-\d.]+)+)[\s,;]*")
_SUFFIX = re.compile(r"\.[A-Za-z]{2,5}$")
_UNIT = re.compile(r"(?:AU)?[ _-]?0*(\d+)", re.IGNORECASE)
_LOOKED_AT, _LONGEST = 20, 10_000  # lines, and characters of one
_TOLD: dict[UnitScale, str] = {
    "intensity": "intensities of 0 to 5",
    "presence": "0 or 1",
    "probability": "probabilities, present from 0.5 on",
}


@dataclass(frozen=True)
class _Line:
    """A line: where it stands, its image, and its numbers as text; none where it is torn."""

    where: str
    image: str
    numbers: tuple[str, ...]


def is_unit_list(path: Path) -> bool:
    """Whether a file is such a list, or one of two files, whether the other is there or not."""
    head = [line.strip() for line in _head(path) if line.strip()]
    if head and all(_NAMED.fullmatch(line) for line in head):
        return True
    try:
        return _pair(path) is not None
    except UserError:
        return True


def unit_columns(path: Path, asked: str | None) -> tuple[str, ...]:
    """The units of the columns of a list, in their order.

    Args:
        path: the list; of two files either.
        asked: what the user says: `bp4d`, `disfa`, or units with commas; None: told by the list.

    Raises:
        UserError: the files do not go together, nothing tells the units, or not as many are asked
            for as there are columns.
    """
    lines = _lines(path)
    widths = Counter(len(line.numbers) for line in lines if line.numbers)
    if not widths:
        raise UserError(path, "no line has an image and numbers", "give `name:0,1,…` a line")
    width = widths.most_common(1)[0][0]
    if asked and asked.upper() not in {name for name, _ in COLUMNS}:
        return _asked_units(path, asked, width)
    told = {_set_and_subject(line.image)[0] for line in lines}
    named = asked.upper() if asked else told.pop() if len(told) == 1 else ""
    if (named, width) not in COLUMNS:
        known = ", ".join(f"{name.lower()} ({count} columns)" for name, count in COLUMNS)
        raise UserError(
            path,
            f"{width} columns of units, and nothing says which they are",
            f"say it with --units: AU1,AU2,… in their order, or {known}",
        )
    return tuple(f"AU{number}" for number in COLUMNS[named, width])


def told_of_units(path: Path, units: Sequence[str]) -> list[str]:
    """How a list is read, a sentence each."""
    pair = _pair(path)
    told = [f"columns are {', '.join(units)}: {_TOLD[_scale(_lines(path))]}"]
    if pair is not None:
        told.append(f"a line of {pair[1].name} is about the same line of {pair[0].name}")
    return told


def read_unit_list(path: Path, units: Sequence[str], problems: Problems) -> Iterator[Entry]:
    """Entries of a list, with whose face it is where a name of BP4D's or DISFA's tells.

    Args:
        path: the list; of two files either.
        units: of its columns, see `unit_columns`.
        problems: takes the lines that cannot be used.

    Raises:
        UserError: the files do not go together, or a table of subjects contradicts itself.
    """
    lines = _lines(path)
    scale, subjects = _scale(lines), read_subjects(path.parent)
    for line in lines:
        if not line.image or ".." in line.image.replace("\\", "/").split("/"):
            problems.add(line.where, "bad line", f"image {line.image!r}")
            continue
        if len(line.numbers) != len(units):
            found = f"{len(line.numbers)} numbers, {len(units)} units"
            problems.add(line.where, "bad line", f"{line.image}: {found}")
            continue
        try:
            labels = _cells(line, units, scale)
        except WrongLabelError as error:
            problems.add(line.where, "wrong label", f"{line.image}: {error}")
            continue
        yield Entry(line.where, line.image, _person(line.image, subjects) | labels)


def _cells(line: _Line, units: Sequence[str], scale: UnitScale) -> dict[str, str]:
    ending = "" if scale == "intensity" else "_present"
    labels: dict[str, str] = {}
    for unit, number in zip(units, line.numbers, strict=True):
        labels |= read_unit_cell(unit + ending, number, scale)
    return labels


def _person(image: str, subjects: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    named, subject = _set_and_subject(image)
    return person_of(subject, subjects) if named in ("BP4D", "DISFA") else {}


def _set_and_subject(image: str) -> tuple[str, str]:
    """As in ("BP4D", "F001"), by an image's path; empty where it tells neither."""
    named, _, subject = (subject_of(_bare(image)) or "").partition(" ")
    return named, subject


def _asked_units(path: Path, asked: str, width: int) -> tuple[str, ...]:
    """Units as the user lists them: AU1, au01 or 1, with commas.

    Raises:
        UserError: one that there is not, one twice, or not as many as there are columns.
    """
    units = []
    for name in asked.split(","):
        found = _UNIT.fullmatch(name.strip())
        units.append(f"AU{found[1]}" if found else "")
        if units[-1] not in ACTION_UNITS:
            raise UserError("--units", f"{name!r} is unknown", "give AU1,AU2,…, bp4d or disfa")
    if len(set(units)) < len(units) or len(units) != width:
        counts = f"{len(set(units))} different units, {path.name} has {width} columns"
        raise UserError("--units", counts, "name each column once, in their order")
    return tuple(units)


def _scale(lines: Sequence[_Line]) -> UnitScale:
    values = (read_number(text) for line in lines for text in line.numbers)
    return scale_of_values(value for value in values if value is not None)


def _lines(path: Path) -> list[_Line]:
    """The lines of a list that are not blank, in their order.

    Raises:
        UserError: two files that do not go together.
    """
    pair = _pair(path)
    if pair is not None:
        return _paired(*pair)
    found = []
    for number, text in enumerate(_text(path), 1):
        named = _NAMED.fullmatch(text.strip())
        image = named["name"] if named else text.partition(":")[0]
        if text.strip():
            numbers = _split(named["numbers"]) if named else ()
            found.append(_Line(f"{path.name}:{number}", image.strip(), numbers))
    return found


def _paired(images: Path, labels: Path) -> list[_Line]:
    """The lines of two files.

    Raises:
        UserError: one has more lines, or a line is led by another image's name.
    """
    paths, rows = _text(images), _text(labels)
    if len(paths) != len(rows):
        raise UserError(
            labels,
            f"has {len(rows)} lines, and {images.name} {len(paths)}: which is about which cannot "
            "be told",
            "get both files anew, from one place",
        )
    found = []
    for number, (image, row) in enumerate(zip(map(str.strip, paths), rows, strict=True), 1):
        numbers = _split(row)
        if numbers and read_number(numbers[0]) is None:
            led = numbers[0].rstrip(":")
            if _bare(led).rpartition("/")[2] != _bare(image).rpartition("/")[2]:
                raise UserError(
                    f"{labels}:{number}",
                    f"is about {led}, and that line of {images.name} names {image or 'nothing'}",
                    "get both files anew, from one place",
                )
            numbers = numbers[1:]
        if image or numbers:
            found.append(_Line(f"{images.name}:{number}", image, numbers))
    return found


def _pair(path: Path) -> tuple[Path, Path] | None:
    """The list of images and the numbers of which a file is one; None if it is neither.

    Raises:
        UserError: numbers without a list.
    """
    is_matrix = _is_matrix(path)
    own, other = (_LABELS, _IMAGES) if is_matrix else (_IMAGES, _LABELS)
    names = _siblings(path, own, other)
    for beside in names:
        if beside.is_file() and _is_matrix(beside) != is_matrix:
            return (beside, path) if is_matrix else (path, beside)
    if is_matrix and names and all(read_number(cell) is not None for cell in _rows(path)[0]):
        raise UserError(
            path,
            "is numbers alone, and no list beside it says of which images",
            f"put the list there, called {names[0].name}",
        )
    return None


def _is_matrix(path: Path) -> bool:
    """Whether the first lines hold two numbers or more each, behind a name or not."""
    rows = _rows(path)
    return bool(rows) and all(
        len(row) > 1 + (read_number(row[0]) is None)
        and all(read_number(cell) is not None for cell in row[1:])
        for row in rows
    )


def _siblings(path: Path, own: Sequence[str], other: Sequence[str]) -> list[Path]:
    """Files beside one that are called as it is, but for the word that says which half it is."""
    word = next((word for word in own if re.search(rf"(?:^|_){word}(?:_|$)", path.stem)), None)
    if word is None:
        return []
    names = (re.sub(rf"(^|_){word}(?=_|$)", rf"\g<1>{new}", path.stem, count=1) for new in other)
    return [path.with_name(f"{name}{path.suffix}") for name in names]


def _bare(image: str) -> str:
    return _SUFFIX.sub("", image.replace("\\", "/"))


def _split(text: str) -> tuple[str, ...]:
    return tuple(cell for cell in _BETWEEN.split(text) if cell)


def _rows(path: Path) -> list[tuple[str, ...]]:
    return [row for row in map(_split, _head(path)) if row]


def _head(path: Path) -> list[str]:
    """The first lines; none of a file that is not text."""
    try:
        with path.open(encoding="utf-8-sig") as stream:
            return list(islice(iter(lambda: stream.readline(_LONGEST), ""), _LOOKED_AT))
    except (OSError, UnicodeDecodeError):
        return []


def _text(path: Path) -> list[str]:
    """All lines but blank ones at the end.

    Raises:
        UserError: it is not text.
    """
    try:
        return path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(path, f"cannot be read ({error})", "save it as UTF-8 text") from error
