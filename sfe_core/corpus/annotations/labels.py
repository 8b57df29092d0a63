"""What is known of each photo, by a label file and by what stands beside the photos."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from sfe_core.corpus.annotations.label_file import COLUMNS_SHOWN, LabelFile, join_rows
from sfe_core.corpus.tables.key_matcher import KeyMatcher
from sfe_core.corpus.tables.tables import read_number
from sfe_core.wording import listed

_KNOWN = ("emotion", "valence", "arousal", "identity")
_LIKELY_STEMS = ("labels", "label", "annotations", "emotions")
_LIKELY_SUFFIXES = (".csv", ".tsv", ".txt", ".xlsx", ".xls", ".json")


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
    """Labels by photo key.

    Attributes:
        by_key: of the photos that a line names.
        unmatched: lines that name no photo.
        scheme: whose numbers the emotions were; None where they were names.
        notes: what a person should know of the file, a sentence each.
    """

    by_key: dict[str, Label]
    unmatched: int = 0
    scheme: str | None = None
    notes: tuple[str, ...] = ()


def labels_of(file: LabelFile, keys: Iterable[str]) -> Labels:
    """What a label file says of photos.

    Args:
        file: as read; a missing or empty one says nothing.
        keys: of the photos there are.
    """
    if not file.rows:
        empty = [f"{file.path.name}: has no line"] if file.path.is_file() else []
        return Labels({}, notes=tuple(empty or _overlooked(file.path)))
    matcher = KeyMatcher(keys)
    named = [(file.photo_of(row, matcher), row) for row in file.rows]
    cells, contradictions = join_rows((key, row) for key, row in named if key is not None)
    unmatched = sum(key is None for key, _ in named)
    by_key = _typed({key: _label(found) for key, found in cells.items()})
    notes = [*file.notes, *contradictions]
    if not by_key:
        example = file.rows[0].listed
        notes.append(f"none of its {len(file.rows)} lines names a photo below photos/ ({example})")
    elif not any(map(_tells, by_key.values())):
        there = listed(file.columns, COLUMNS_SHOWN)
        notes.append(f"no photo gets an emotion from it; its columns are {there}")
    told = tuple(f"{file.path.name}: {note}" for note in notes)
    return Labels(by_key, unmatched, file.scheme, told)


def _tells(label: Label) -> bool:
    """Whether a label has an emotion, or what some sets have instead: dimensions, action units."""
    dimensions = label.valence is not None or label.arousal is not None
    return bool(label.emotion) or dimensions or any("_AU" in name for name in label.extra)


def with_more_labels(labels: Labels, cells: Mapping[str, Mapping[str, str]]) -> Labels:
    """Labels, and what `cells` (key → column → cell) say of photos where these say nothing."""
    if not cells:
        return labels
    joined = dict(labels.by_key)
    for key, found in cells.items():
        label = _label(found)
        first = joined.get(key, Label())
        joined[key] = Label(
            first.emotion or label.emotion,
            label.valence if first.valence is None else first.valence,
            label.arousal if first.arousal is None else first.arousal,
            first.identity or label.identity,
            label.extra | first.extra,
        )
    return replace(labels, by_key=_typed(joined))


def _overlooked(path: Path) -> list[str]:
    """What looks like a label file where there is none: of another name, or beside the photos."""
    beside = path.parent.parent / path.name
    found = [other for other in path.parent.glob("*") if other.stem.lower() in _LIKELY_STEMS]
    found = [other for other in found if other.suffix.lower() in _LIKELY_SUFFIXES]
    return [
        f"{other} is not read: labels are looked for in {path} (sfe.yaml: photos.labels)"
        for other in sorted([*found, *([beside] if beside.is_file() else [])])
    ]


def _label(cells: Mapping[str, str]) -> Label:
    valence, arousal = (read_number(cells.get(name, "")) for name in ("valence", "arousal"))
    return Label(
        emotion=cells.get("emotion") or None,
        valence=valence,
        arousal=arousal,
        identity=cells.get("identity"),
        extra={f"label_{name}": cell for name, cell in cells.items() if name not in _KNOWN},
    )


def _typed(labels: dict[str, Label]) -> dict[str, Label]:
    """Numbers as floats in further columns that hold nothing else; a column has one type."""
    texts = {
        name
        for label in labels.values()
        for name, cell in label.extra.items()
        if read_number(str(cell)) is None
    }
    return {
        key: replace(
            label,
            extra={
                name: str(cell) if name in texts else read_number(str(cell)) or 0.0
                for name, cell in label.extra.items()
            },
        )
        for key, label in labels.items()
    }
