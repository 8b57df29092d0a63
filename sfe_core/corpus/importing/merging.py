"""labels.csv and captions.json with what was imported put into them; what stood there stays."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sfe_core.corpus.labels import KEY_COLUMNS, KeyMatcher, parse_emotion
from sfe_core.errors import UserError
from sfe_core.files import atomic_path, write_json

_FIRST_COLUMNS = ("key", "emotion", "valence", "arousal", "identity", "age", "gender", "ethnicity")


def merge_labels(path: Path, labels: Mapping[str, Mapping[str, str]], keys: Iterable[str]) -> None:
    """Write a label file that says what it said before, and what `labels` says.

    Args:
        path: labels.csv; made if it is not there.
        labels: key → column → cell; replaces the cells that stand there.
        keys: of all photos, by which paths in the file are known.

    Raises:
        UserError: the file that stands there is no label file.
    """
    rows = _rows_before(path, KeyMatcher(keys))
    for key, cells in labels.items():
        rows.setdefault(key, {}).update(cells)
    columns = _ordered(name for cells in rows.values() for name in cells)
    with atomic_path(path) as partial:
        with partial.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows({"key": key} | rows[key] for key in sorted(rows))


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
    # New ones come last: where a key is spelt in two ways, the reader takes the later.
    kept = {key: value for key, value in before.items() if key not in captions}
    write_json(path, kept | dict(captions))


def _rows_before(path: Path, matcher: KeyMatcher) -> dict[str, dict[str, str]]:
    if not path.is_file():
        return {}
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            lines = [[cell.strip() for cell in row] for row in csv.reader(stream)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(path, f"is not UTF-8 CSV ({error})", "save it as such") from error
    lines = [line for line in lines if any(line)]
    if not lines:
        return {}
    named = next((name for name in KEY_COLUMNS if name in lines[0]), None)
    head = lines.pop(0) if named else ["path", "emotion"]
    rows: dict[str, dict[str, str]] = {}
    for line in lines:
        if len(line) != len(head):
            raise UserError(
                path, f"{line[:3]} has {len(line)} cells, not {len(head)}", "correct it"
            )
        cells = dict(zip(head, line, strict=True))
        listed = cells.pop(named or "path")
        if named is None:
            cells["emotion"] = parse_emotion(cells["emotion"], str(path)) or ""
        key = matcher.tail(listed) or _below(listed)
        rows[key] = {name: cell for name, cell in cells.items() if cell}
    return rows


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
