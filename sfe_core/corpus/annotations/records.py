"""Tables of JSON: an object a line (`metadata.jsonl` of Hugging Face), or an array of objects."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from sfe_core.corpus.annotations.captions import first_text
from sfe_core.corpus.tables.tables import Table, plain_name
from sfe_core.errors import UserError

# Columns of texts about pictures, the most usual first.
CAPTION_COLUMNS = (
    "text", "caption", "captions", "prompt", "description", "blip_caption", "image_caption",
    "llava_caption", "short_caption", "long_caption",
)  # fmt: skip
_HEAD = 1 << 16


def is_records(path: Path) -> bool:
    """Whether a file holds JSON objects of which each is a row."""
    try:
        with path.open(encoding="utf-8-sig") as stream:
            head = stream.read(_HEAD).lstrip()
    except (OSError, UnicodeDecodeError):
        return False
    if head.startswith("["):
        return head[1:].lstrip().startswith("{")
    line = head.partition("\n")[0].strip()
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        return False
    # A caption file of one line is an object too, but its values are of no named columns.
    return isinstance(row, dict) and any(
        plain_name(name) in ("file_name", "image", "path", "file", "filename", "key", "image_path")
        for name in row
    )


def open_records(path: Path) -> Table:
    """A table of JSON objects; a column for each name that one of them has.

    Raises:
        UserError: an array that is not JSON, or no object at all.
    """
    names: dict[str, None] = {}
    for _, row in _rows(path):
        names |= dict.fromkeys(row or {})
    if not names:
        raise UserError(path, "holds no JSON object", 'write {"file_name": …, "text": …} a line')
    return Table(path, tuple(names), partial(_lines, path, tuple(names)), encoding="utf-8-sig")


def caption_column(table: Table) -> int | None:
    """The column that holds texts about the pictures."""
    return table.column(*CAPTION_COLUMNS)


def _lines(path: Path, names: tuple[str, ...]) -> Iterator[tuple[int, list[str]]]:
    """Cells of each row; none for a line that is not a JSON object."""
    for number, row in _rows(path):
        yield number, [] if row is None else [cell_of(row.get(name)) for name in names]


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any] | None]]:
    try:
        with path.open(encoding="utf-8-sig") as stream:
            if stream.read(1).lstrip() == "[":
                stream.seek(0)
                for number, row in enumerate(json.load(stream), 1):
                    yield number, row if isinstance(row, dict) else None
                return
            stream.seek(0)
            for number, line in enumerate(stream, 1):
                if line.strip():
                    yield number, _object(line)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(path, f"is not JSON ({error})", "correct it") from error


def _object(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        return None
    return row if isinstance(row, dict) else None


def cell_of(value: object) -> str:
    """A value as a cell of a table: true and false are 1 and 0; of several texts the first."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, str | list):
        text = first_text(value)
        return json.dumps(value) if text is None else text
    return json.dumps(value) if isinstance(value, dict) else f"{value}"
