"""Which faces stand together, and on which side of the split."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sfe_core.config.corpus_sections import SplitConfig
from sfe_core.corpus.duplicates import Duplicates, HashedFace, find_duplicates
from sfe_core.corpus.labels import Label
from sfe_core.corpus.splits import SplitItem, assign_splits, held_out_count


@dataclass(frozen=True)
class Sides:
    """The splits, and what they keep together.

    Attributes:
        splits: of the usable faces, by key.
        duplicates: copies among them.
        contradictions: copies with different emotions, in words.
        notes: what else is to be known of the splits, in words.
    """

    splits: Mapping[str, str]
    duplicates: Duplicates
    contradictions: tuple[str, ...]
    notes: tuple[str, ...]


def choose_sides(
    config: SplitConfig, faces: Sequence[HashedFace], labels: Mapping[str, Label]
) -> Sides:
    """Find copies and share out the splits.

    Args:
        config: of the split.
        faces: the usable ones.
        labels: by key.
    """
    duplicates = find_duplicates(faces, config.copies)
    found = ((face.key, labels.get(face.key, Label())) for face in faces)
    items = [SplitItem(key, label.identity, label.emotion) for key, label in found]
    size = config.validation_name, config.validation_count, config.validation_fraction
    splits = assign_splits(items, *size, duplicates.groups)
    notes: list[str] = []
    if config.validation_name not in splits.values() and held_out_count(len(items), *size[1:]):
        apart = assign_splits(items, *size, _by_person(duplicates, labels))
        if config.validation_name in apart.values():
            splits = apart
            notes.append(
                "copies that labels.csv gives to different people stand on both sides: "
                "without them nothing would be held out"
            )
    emotions = {face.key: labels[face.key].emotion for face in faces if face.key in labels}
    contradictions = tuple(duplicates.contradictions(emotions))
    return Sides(splits, duplicates, contradictions, tuple(notes))


def _by_person(duplicates: Duplicates, labels: Mapping[str, Label]) -> list[list[str]]:
    """The groups of copies, each taken apart by whose they are said to be."""
    parts: list[list[str]] = []
    for group in duplicates.groups:
        by_person: dict[str, list[str]] = defaultdict(list)
        nobody = [key for key in group if not labels.get(key, Label()).identity]
        for key in group:
            if key not in nobody:
                by_person[labels[key].identity or ""].append(key)
        first, *others = list(by_person.values()) or [[]]
        parts += [first + nobody, *others]
    return parts
