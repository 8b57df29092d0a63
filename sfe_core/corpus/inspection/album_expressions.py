"""Which expressions an album shows and which it lacks, where a recogniser read them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from sfe_core.corpus.people.albums import person_of
from sfe_core.emotions import EMOTIONS

_LABELS = "labels"
_MOST_ALBUMS = 50


@dataclass
class AlbumExpressions:
    """Counts over usable faces; says nothing of corpora whose emotions are labels alone.

    Attributes:
        by_person: person ("" where photos lie flat) to faces of each emotion.
        readers: recognisers that read some of them, and of how many faces.
    """

    by_person: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    readers: Counter[str] = field(default_factory=Counter)

    def add(self, row: Mapping[str, Any]) -> None:
        """Count a usable face."""
        source = row.get("emotion_source")
        if source and source != _LABELS:
            self.readers[source] += 1
        if row["emotion"]:
            self.by_person[person_of(row["key"])][row["emotion"]] += 1

    def told(self) -> list[str]:
        """A sentence about each album: what it shows, and what it lacks."""
        if not self.readers:
            return []
        sentences = []
        for person, counts in sorted(self.by_person.items())[:_MOST_ALBUMS]:
            shown = ", ".join(f"{name} {counts[name]}" for name in EMOTIONS if counts[name])
            lacking = ", ".join(name for name in EMOTIONS if not counts[name])
            whose = f"the album of {person}" if person else "the album"
            lacks = f"; it lacks {lacking}" if lacking else ""
            sentences.append(f"{whose} shows {shown}{lacks}")
        return sentences


def expressions_of_albums(usable: pd.DataFrame) -> list[tuple[str, list[str]]]:
    """For the report: a heading and the sentences below it; empty where nothing was read."""
    albums = AlbumExpressions()
    for row in usable[["key", "emotion", "emotion_source"]].to_dict("records"):
        albums.add({str(n): None if pd.isna(value) else value for n, value in row.items()})
    if not albums.readers:
        return []
    by = ", ".join(albums.readers)
    count = sum(albums.readers.values())
    return [(f"Expressions read by {by}: of {count:,} faces", albums.told())]
