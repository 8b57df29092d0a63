"""Tables of texts below a sentence, as the protocols of a person and of edits are told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TextRow:
    """A row of a table: its heading, and a text by column."""

    heading: str
    cells: dict[str, str]


@dataclass(frozen=True)
class TextTable:
    """Rows under the heading of their own headings; `columns`: names to headings."""

    heading: str
    columns: dict[str, str]
    rows: list[TextRow]


@dataclass(frozen=True)
class ToldTables:
    """What was measured and how, in a sentence, and the tables of it."""

    sentence: str
    tables: tuple[TextTable, ...]
