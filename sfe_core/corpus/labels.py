"""What is known of the photos: labels.csv, in the form `synthesize` writes or without a header.

With a header: a `key` column, and any of `emotion`, `valence`, `arousal`, `identity`; every other
column is kept under `label_<name>`; captions know of AU1 … AU46 (intensity 0 to 5), AU1_present …
(0 or 1), age, gender or sex, ethnicity or race. Without one: `path,emotion` a line, as
AffectNet-style lists have it, the emotion by number (an integer or a float) or by name.
"""

from __future__ import annotations

import csv
import math
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError
from sfe_core.files import check_key

# AffectNet's 8 to 10: none of the eight, uncertain, no face.
UNLABELLED_CODES = frozenset({8, 9, 10, -1})
KEY_COLUMNS = ("key", "path", "file", "image", "photo")


@dataclass(frozen=True)
class Label:
    """What is known of one photo; valence and arousal in [-1, 1]."""

    emotion: str | None = None
    valence: float | None = None
    arousal: float | None = None
    identity: str | None = None
    extra: dict[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True)
class Labels:
    """Labels by photo key, and how many lines of the file found no photo."""

    by_key: dict[str, Label]
    unmatched: int = 0


class KeyMatcher:
    """Finds the photo that a path in somebody's list means.

    A listed path matches by its longest tail that is a key, so that absolute paths of another
    machine work; Unicode is compared in its composed form, extensions are optional.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        self._keys = {_composed(key): key for key in keys}
        self._names = {key.rpartition("/")[2] for key in self._keys}

    def exact(self, name: str) -> str | None:
        """The key spelt `name`, with or without an extension."""
        path = PurePosixPath(_composed(name.replace("\\", "/")))
        bare = str(path.with_suffix("")) if path.name else ""
        return self._keys.get(str(path)) or self._keys.get(bare)

    def tail(self, path: str) -> str | None:
        """The key that is the longest tail of `path`."""
        parts = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".")]
        name = PurePosixPath(_composed(parts[-1]) if parts else "")
        if name.name not in self._names and name.stem not in self._names:
            return None  # most lines of a list that is about more photos than there are
        for first in range(len(parts)):
            key = self.exact("/".join(parts[first:]))
            if key is not None:
                return key
        return None


def read_labels(path: Path, keys: Iterable[str]) -> Labels:
    """Read a label file.

    Args:
        path: the CSV; no file means no labels.
        keys: keys of the photos there are.

    Raises:
        UserError: a value that is no emotion, number or key, with file, line and what is allowed.
    """
    if not path.is_file():
        return Labels({})
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            lines = [row for row in csv.reader(stream)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(path, f"is not UTF-8 CSV ({error})", "save it as such") from error
    matcher = KeyMatcher(keys)
    numbered = [(number, row) for number, row in enumerate(lines, 1) if any(c.strip() for c in row)]
    if not numbered:
        return Labels({})
    head = [cell.strip() for cell in numbered[0][1]]
    column = next((name for name in KEY_COLUMNS if name in head), None)
    if column is None:
        return _headerless(path, numbered, matcher)
    return _typed(_headed(path, head, head.index(column), numbered[1:], matcher))


def _headerless(path: Path, lines: list[tuple[int, list[str]]], matcher: KeyMatcher) -> Labels:
    by_key: dict[str, Label] = {}
    unmatched = 0
    for number, row in lines:
        where = f"{path}:{number}"
        if len(row) != 2:
            raise UserError(
                where,
                f"{len(row)} columns and no header",
                "write `path,emotion`, or begin the file with a header that has a key column",
            )
        _refuse_climbing(row[0], where)
        emotion = parse_emotion(row[1], where)
        key = matcher.tail(row[0].strip())
        if key is None:
            unmatched += 1
        else:
            by_key[key] = Label(emotion=emotion)
    return Labels(by_key, unmatched)


def _headed(
    path: Path,
    head: list[str],
    key_column: int,
    lines: list[tuple[int, list[str]]],
    matcher: KeyMatcher,
) -> Labels:
    by_key: dict[str, Label] = {}
    unmatched = 0
    for number, row in lines:
        where = f"{path}:{number}"
        if len(row) != len(head):
            raise UserError(where, f"{len(row)} columns, the header has {len(head)}", "correct it")
        if head[key_column] == "key":
            check_key(row[key_column].strip(), where)
        else:
            _refuse_climbing(row[key_column], where)
        cells = {
            name: cell.strip()
            for place, (name, cell) in enumerate(zip(head, row, strict=True))
            if place != key_column and cell.strip()
        }
        label = _label(cells, where)  # checked whether or not there is such a photo
        key = matcher.tail(row[key_column].strip())
        if key is None:
            unmatched += 1
        else:
            by_key[key] = label
    return Labels(by_key, unmatched)


def _typed(labels: Labels) -> Labels:
    """Numbers as floats in further columns that hold nothing else; a column has one type."""
    extras = [label.extra for label in labels.by_key.values()]
    texts = {
        name
        for extra in extras
        for name, cell in extra.items()
        if isinstance(_number(str(cell)), str)
    }
    by_key = {
        key: replace(
            label,
            extra={
                name: cell if name in texts else float(cell) for name, cell in label.extra.items()
            },
        )
        for key, label in labels.by_key.items()
    }
    return Labels(by_key, labels.unmatched)


def _label(cells: dict[str, str], where: str) -> Label:
    known = {"emotion", "valence", "arousal", "identity"}
    return Label(
        emotion=parse_emotion(cells["emotion"], where) if "emotion" in cells else None,
        valence=_parse_affect(cells, "valence", where),
        arousal=_parse_affect(cells, "arousal", where),
        identity=cells.get("identity"),
        extra={f"label_{name}": cell for name, cell in cells.items() if name not in known},
    )


def parse_emotion(text: str, where: str) -> str | None:
    """An emotion by name, integer or float; None for AffectNet's "none" codes and empty text.

    Raises:
        UserError: neither a name in EMOTIONS nor a whole number 0..7.
    """
    text = text.strip()
    if not text or text.lower() in ("none", "nan"):
        return None
    if text.lower() in EMOTIONS:
        return text.lower()
    number = _number(text)
    if isinstance(number, float) and number.is_integer():
        if 0 <= number < len(EMOTIONS):
            return EMOTIONS[int(number)]
        if int(number) in UNLABELLED_CODES:
            return None
    allowed = ", ".join(f"{place} {name}" for place, name in enumerate(EMOTIONS))
    raise UserError(where, f"emotion {text!r} is unknown", f"allowed: {allowed}")


def _parse_affect(cells: dict[str, str], name: str, where: str) -> float | None:
    """Valence or arousal; AffectNet's -2 ("uncertain") and nan become None."""
    if name not in cells:
        return None
    value = _number(cells[name])
    if isinstance(value, str):
        raise UserError(where, f"{name} {value!r} is no number", "allowed: -1 to 1, or empty")
    if math.isnan(value) or value == -2:
        return None
    if not -1.0 <= value <= 1.0:
        raise UserError(where, f"{name} {value:g} is out of range", "allowed: -1 to 1, or empty")
    return value


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _refuse_climbing(path: str, where: str) -> None:
    if ".." in path.replace("\\", "/").split("/"):
        raise UserError(where, f"path {path!r} holds `..`", "write the path without it")


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)
