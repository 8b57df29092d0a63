"""What a reader finds in somebody's data set: entries to take in, and what was wrong with it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Kind = Literal[
    "bad line",
    "wrong label",
    "unlabelled",
    "duplicate",
    "contradiction",
    "replaced",
    "another face",
    "missing file",
    "occupied",
]


@dataclass(frozen=True)
class Entry:
    """One listed face.

    Attributes:
        where: the line or file it comes from, for messages.
        image: path of its image as listed; matched to a file by its longest tail.
        labels: cells of labels.csv by column: emotion by name, numbers as text.
        caption: its text, if the source has one.
        mesh: a render of its head in the frame of the image, if the source has one.
        key: the key that its image shall go by in the photos folder; None for that of its path.
    """

    where: str
    image: str
    labels: dict[str, str] = field(default_factory=dict)
    caption: str | None = None
    mesh: Path | None = None
    key: str | None = None


@dataclass(frozen=True)
class Problem:
    """Something that was passed over: where, of which kind, and what was found."""

    where: str
    kind: Kind
    detail: str


class Problems:
    """Everything that was passed over, in the order it was met."""

    def __init__(self) -> None:
        self.listed: list[Problem] = []

    def add(self, where: str, kind: Kind, detail: str) -> None:
        """Note one."""
        self.listed.append(Problem(where, kind, detail))

    @property
    def counts(self) -> dict[str, int]:
        """How many of each kind, most frequent first."""
        return dict(Counter(problem.kind for problem in self.listed).most_common())
