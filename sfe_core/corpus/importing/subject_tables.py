"""Who the subjects of BP4D and DISFA are: tables of age, sex and ethnicity, a row per person.

Such a table lies beside the labels or the list, has a header, and names the subject as the images
do: `subject,sex,age,ethnicity` and `F001,female,21,Asian`. It names no image.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from sfe_core.corpus.tables.column_names import (
    ATTRIBUTE_COLUMNS,
    IMAGE_COLUMNS,
    TEXT_COLUMNS,
    open_labels,
)
from sfe_core.corpus.tables.tables import Table
from sfe_core.errors import UserError

_SUFFIXES = (".csv", ".tsv", ".txt")
_HEADER = re.compile(r"age|sex|gender|ethnic|race", re.IGNORECASE)
_SUBJECT = re.compile(r"[FM]\d{3}|SN\d{3}", re.IGNORECASE)


def read_subjects(folder: Path) -> dict[str, dict[str, str]]:
    """Subject → cells of labels.csv, from every such table right in a folder.

    Args:
        folder: of the labels; other files in it are passed over.

    Raises:
        UserError: two rows of one subject that differ.
    """
    found: dict[str, dict[str, str]] = {}
    for path in sorted(folder.iterdir() if folder.is_dir() else ()):
        # Files that are called after a subject are that subject's codes.
        if path.suffix.lower() not in _SUFFIXES or _SUBJECT.match(path.name):
            continue
        try:
            table = open_labels(path) if _HEADER.search(_first_line(path)) else None
        except UserError:
            continue
        if table and table.headed and not set(table.columns) & set(IMAGE_COLUMNS):
            _read(table, found)
    return found


def person_of(subject: str, subjects: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """What is known of a subject: cells of labels.csv. BP4D's are numbered by sex.

    Args:
        subject: F001, M001, SN001.
        subjects: from `read_subjects`.
    """
    sex = {"F": "female", "M": "male"}.get(subject[:1])
    known = {"identity": subject} | ({"gender": sex} if sex else {})
    return known | dict(subjects.get(subject, {}))


def _first_line(path: Path) -> str:
    """Enough to pass quickly over the many other files of a folder."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as stream:
            return stream.readline(1000)
    except OSError:
        return ""


def _read(table: Table, found: dict[str, dict[str, str]]) -> None:
    meaning = {place: TEXT_COLUMNS.get(name) for place, name in enumerate(table.columns)}
    named = [place for place, name in enumerate(table.columns) if meaning[place] == "identity"]
    named += [place for place, name in enumerate(table.columns) if name == "id"]
    about = {place: name for place, name in meaning.items() if name in ATTRIBUTE_COLUMNS}
    if not named or not about:
        return
    for number, cells in table.rows(lambda number, found: None):
        subject = cells[named[0]].upper()
        if not _SUBJECT.fullmatch(subject):
            continue
        known = {name: cells[place] for place, name in about.items() if name and cells[place]}
        if found.setdefault(subject, known) != known:
            raise UserError(
                f"{table.path}:{number}", f"tells another thing of {subject}", "keep one row of it"
            )
