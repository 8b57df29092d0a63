"""labels.csv and captions.json with what was imported put into them; what stood there stays."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sfe_core.corpus.annotations.label_file import join_rows, read_label_file
from sfe_core.corpus.tables.key_matcher import KeyMatcher
from sfe_core.errors import UserError
from sfe_core.file_kinds import PICTURE_SUFFIXES
from sfe_core.files import atomic_path, write_json

_FIRST_COLUMNS = ("key", "emotion", "valence", "arousal", "identity", "age", "gender", "ethnicity")


def merge_labels(
    path: Path,
    labels: Mapping[str, Mapping[str, str]],
    keys: Iterable[str],
    scheme: str | None = None,
) -> list[str]:
    """Write a label file that says what it said before, and what `labels` says.

    Args:
        path: labels.csv; made if it is not there.
        labels: key → column → cell; replaces the cells that stand there.
        keys: of all photos, by which paths in the file are known.
        scheme: what numbers in the file mean; None to tell it from the file.

    Returns:
        What was replaced, as "key: emotion happy is now sad".

    Raises:
        UserError: the file that stands there is no label file.
    """
    matcher = KeyMatcher(keys)
    before = read_label_file(path, scheme)
    named = ((before.photo_of(row, matcher) or _below(row.listed), row) for row in before.rows)
    rows, _ = join_rows(named)
    replaced = []
    for key, cells in labels.items():
        row = rows.setdefault(key, {})
        replaced += [
            f"{key}: {name} {row[name]} is now {cell}"
            for name, cell in cells.items()
            if row.get(name, cell) not in ("", cell)
        ]
        row.update(cells)
    columns = _ordered(name for cells in rows.values() for name, cell in cells.items() if cell)
    with (
        atomic_path(path) as partial,
        partial.open("w", newline="", encoding="utf-8") as stream,
    ):
        writer = csv.DictWriter(
            stream, columns, restval="", lineterminator="\n", extrasaction="ignore"
        )
        writer.writeheader()
        writer.writerows({"key": key} | rows[key] for key in sorted(rows))
    return replaced


def merge_captions(path: Path, captions: Mapping[str, str]) -> None:
    """Write a caption file with `captions` added; they replace those of the same key.

    Raises:
        UserError: the file that stands there is no JSON object.
    """
    before: Any = {}
    if path.is_file():
        try:
            before = json.loads(path.read_text(encoding="utf-8-sig"))
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise UserError(path, f"is not JSON ({error})", "correct it or remove it") from error
        if not isinstance(before, dict):
            raise UserError(path, f"holds a {type(before).__name__}", "correct it or remove it")
    new = {name for key in captions for name in (key, *(key + s for s in PICTURE_SUFFIXES))}
    kept = {key: value for key, value in before.items() if key not in new}
    # New ones come first: where a key is spelt in another way still, the reader takes the earlier.
    write_json(path, dict(captions) | kept)


def _below(path: str) -> str:
    """A path of another machine as a key that stays below the photos folder."""
    return re.sub(r"^[A-Za-z]:", "", path.replace("\\", "/")).lstrip("/")


def _ordered(names: Iterable[str]) -> list[str]:
    """Known columns first, then the others, numbers in names by their size."""
    found = {*names, "key"}
    rest = sorted(
        found - set(_FIRST_COLUMNS),
        key=lambda name: [part.zfill(6) for part in re.split(r"(\d+)", name)],
    )
    return [name for name in _FIRST_COLUMNS if name in found] + rest
