"""Who is on the photos: from labels, file names of known sets, folders, and faces that are alike.

A source that says more surely comes first: what labels.csv says stands as it is, the others fill
in. Where a name of a lower source is, on labelled photos, always one labelled person, it is taken
for that person; where it is several, it is not a person's.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sfe_core.config.corpus_sections import SplitConfig
from sfe_core.corpus.people.duplicates import Duplicates, HashedFace
from sfe_core.corpus.people.people_folders import Vectors, find_people, innermost_folders
from sfe_core.corpus.people.subjects import emotion_named_people, subject_of
from sfe_core.errors import UserError
from sfe_core.wording import listed

LABELS, FILE_NAMES, FOLDERS, CLUSTERS = "labels", "file names", "folders", "clusters"
_NAMED = 5
# dlib's author clusters faces of one person at this distance (face_clustering.py).
_CLUSTER_DISTANCE = 0.5


@dataclass(frozen=True)
class People:
    """Whose each face is, as far as it is known.

    Attributes:
        of: key → person.
        source: key → what says so.
        faces: how many faces were looked at.
        doubtful: folders that may be people's, which nothing here can tell.
        asked: faces whose vectors of identity decide, whether they are there yet or not.
        asks: whether people play a part in the splits.
    """

    of: Mapping[str, str]
    source: Mapping[str, str]
    faces: int
    doubtful: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()
    asks: bool = True

    @classmethod
    def of_table(cls, table: pd.DataFrame) -> People:
        """Those that the usable rows of a manifest name."""
        known = table[table["identity"].notna()]
        # Manifests of before the sources were told have identities of labels.csv alone.
        source = known["identity_source"].fillna(LABELS)
        of = dict(zip(known["key"], known["identity"], strict=True))
        return cls(of, dict(zip(known["key"], source, strict=True)), len(table))

    @property
    def by_source(self) -> dict[str, int]:
        """People by the surest source that names them."""
        order = (LABELS, FILE_NAMES, FOLDERS, CLUSTERS)
        best: dict[str, int] = {}
        for key, person in self.of.items():
            place = order.index(self.source[key])
            best[person] = min(best.get(person, place), place)
        counts = Counter(order[place] for place in best.values())
        return {name: counts[name] for name in order if counts[name]}

    @property
    def known(self) -> int:
        """How many people."""
        return sum(self.by_source.values())

    @property
    def unknown_faces(self) -> int:
        """Faces of nobody known."""
        return self.faces - len(self.of)

    def told(self) -> str:
        """How many people are known and from what."""
        if not self.asks:
            return "not asked for"
        if not self.known:
            return "none known"
        sources = self.by_source
        counts = ", ".join(f"{name} {count}" for name, count in sources.items())
        text = f"{self.known} known ({counts if len(sources) > 1 else next(iter(sources))})"
        return f"{text}, {self.unknown_faces} photos unknown" if self.unknown_faces else text

    def advice(self) -> str | None:
        """What may be wrong with the splits for want of people, and what to do; None if nothing."""
        if self.doubtful:
            named = listed(self.doubtful, _NAMED)
            return (
                f"folders may be people's, which takes dlib to tell: {named}; "
                "if so, set split.identity to folders"
            )
        if self.known or not self.faces:
            return None
        sides = "the same person may stand on both sides"
        if not self.asks:
            return f"{sides}: split.identity is none"
        return (
            f"{sides}: give labels.csv a column identity, or each person a folder of photos, "
            "or set split.identity to clusters"
        )


def find_identities(
    config: SplitConfig,
    faces: Sequence[HashedFace],
    labelled: Mapping[str, str],
    listed: Mapping[str, str],
    duplicates: Duplicates,
    vectors: Vectors | None,
) -> People:
    """Find out whose each face is.

    Args:
        config: `identity` says what to go by.
        faces: the usable ones.
        labelled: key → person, by labels.csv.
        listed: key → person, by a list that belongs to the photos.
        duplicates: copies among the faces.
        vectors: of identity, by key, those there are; None where there will be none.
    """
    people = _Gathered()
    keys = [face.key for face in faces]
    if config.identity == "none":
        return People({}, {}, len(keys), asks=False)
    people.add({key: labelled[key] for key in keys if key in labelled}, LABELS)
    if config.identity == "labels":
        return People(people.of, people.source, len(keys))
    # A photo's name and folder are about the face that it was taken for.
    first = [face.key for face in faces if face.number == 1]
    named = emotion_named_people(first)
    named |= {key: person for key in first if (person := subject_of(key))}
    people.add(named | {key: listed[key] for key in first if key in listed}, FILE_NAMES)
    asked: list[str] = []
    doubtful: list[str] = []
    unnamed = [key for key in first if key not in people.of]
    if config.identity == "folders":
        people.add(innermost_folders(first), FOLDERS)
    elif unnamed:
        copies = {key for group in duplicates.groups for key in group[1:]}
        found = find_people(first, vectors, copies)
        people.add(found.people, FOLDERS)
        asked, doubtful = found.asked, found.doubtful
    if config.identity == "clusters":
        asked = keys
        people.add(_clusters(keys, vectors or {}, people.of), CLUSTERS)
        doubtful = []
    return People(people.of, people.source, len(keys), tuple(doubtful), tuple(asked))


class _Gathered:
    """People by key, from one source after the other."""

    def __init__(self) -> None:
        self.of: dict[str, str] = {}
        self.source: dict[str, str] = {}

    def add(self, people: Mapping[str, str], source: str) -> None:
        """Take over what a less sure source says of faces that are unknown so far."""
        before: dict[str, set[str]] = defaultdict(set)
        for key, person in people.items():
            if key in self.of:
                before[person].add(self.of[key])
        for key, person in people.items():
            known = before[person]
            if key not in self.of and len(known) < 2:
                self.of[key] = next(iter(known), person)
                self.source[key] = source


def _clusters(keys: Iterable[str], vectors: Vectors, known: Mapping[str, str]) -> dict[str, str]:
    """Key → person by who looks alike (Chinese whispers: Biemann, TextGraphs 2006).

    A cluster is named after its first face. One with several known people is nobody's.
    """
    there = sorted(key for key in keys if key in vectors)
    if not there:
        return {}
    try:
        import dlib
    except ImportError as error:
        raise UserError(
            "split.identity: clusters", "dlib is not installed", "pip install 'sfe[offline]'"
        ) from error
    found = dlib.chinese_whispers_clustering(
        [dlib.vector(np.asarray(vectors[key], float).tolist()) for key in there], _CLUSTER_DISTANCE
    )
    first: dict[int, str] = {}
    for key, cluster in zip(there, found, strict=True):
        first.setdefault(cluster, key)
    return {key: f"like {first[cluster]}" for key, cluster in zip(there, found, strict=True)}
