"""Copies among the photos: the same bytes, or the same face resaved, resized, cut or mirrored.

Copies are never left out: they stand on one side of the split, and are told.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from sfe_core.arrays import Pixels
from sfe_core.corpus.people.face_hash import BITS, LIKENESS, mirrored, unpacked

Kind = Literal["near", "exact", "none"]
# Two hashes within LIKENESS agree on all bits of one of these drawn sets with a chance above
# 1 - (1 - (1 - LIKENESS)^20)^48 = 0.999; only pairs that do are compared.
_TABLES, _TABLE_BITS = 48, 20
# Of many that agree on a table's bits, each is compared with so many that follow; frames of one
# video then still hang together, and the work stays in proportion to their number.
_NEXT = 24
_PAIRS_AT_ONCE = 1_000_000


class HashedFace(NamedTuple):
    """What copies of a face, and faces of the same person, are known by."""

    key: str
    number: int  # its place among the photo's faces, from 1
    photo_sha256: str
    face_hash: str  # see `face_hash.face_hash`; "" where there is none
    crop_sha256: str = ""

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> HashedFace:
        """That of a manifest row."""
        hashes = (row.get(name) for name in ("photo_sha256", "face_hash", "inputs_sha256"))
        return cls(row["key"], row.get("face_number") or 1, *(text or "" for text in hashes))


@dataclass(frozen=True)
class Duplicates:
    """Faces that are copies of others.

    Attributes:
        groups: keys of faces that show the same; the first stands for the group.
        exact: faces whose photo has the bytes of an earlier one of its group.
    """

    groups: tuple[tuple[str, ...], ...] = ()
    exact: int = 0
    _first: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_table(cls, table: pd.DataFrame) -> Duplicates:
        """Those that the usable rows of a manifest name."""
        copies = table[table["duplicate_of"].notna()]
        first = dict(zip(copies["key"], copies["duplicate_of"], strict=True))
        groups: dict[str, list[str]] = defaultdict(list)
        for key, original in sorted(first.items(), key=lambda pair: (len(pair[0]), pair[0])):
            groups[original].append(key)
        involved = table[table["key"].isin(first.keys() | groups.keys())]
        exact = int(involved.duplicated(["photo_sha256", "face_number"]).sum())
        return cls(tuple((name, *keys) for name, keys in sorted(groups.items())), exact, first)

    @property
    def copies(self) -> int:
        """Faces that are copies of an earlier one."""
        return sum(len(group) - 1 for group in self.groups)

    def first(self, key: str) -> str | None:
        """The face that this one is a copy of; None for one that is none."""
        return self._first.get(key)

    def told(self) -> str | None:
        """How many copies there are, of which kind; None where there are none."""
        if not self.copies:
            return None
        kinds = f"{self.exact} byte for byte, {self.copies - self.exact} that look the same"
        return f"{self.copies} ({kinds}); each stands on the side of its original"

    def contradictions(self, emotions: Mapping[str, Any]) -> list[str]:
        """The groups whose faces bear different emotions, in words; `emotions` is by key."""
        told = []
        for group in self.groups:
            labelled = [(key, emotions.get(key)) for key in group]
            seen: dict[str, str] = {}
            for key, emotion in labelled:
                if isinstance(emotion, str) and emotion:  # a table has NaN for none
                    seen.setdefault(emotion, key)
            if len(seen) > 1:
                told.append(", ".join(f"{key} {emotion}" for emotion, key in seen.items()))
        return told


def find_duplicates(faces: Iterable[HashedFace], kind: Kind = "near") -> Duplicates:
    """Group the copies among faces.

    Args:
        faces: with unique keys.
        kind: near also compares how the faces look, exact only the photos' bytes; none finds none.
    """
    ordered = sorted(faces) if kind != "none" else []
    same: dict[tuple[str, int], int] = {}
    pairs: list[tuple[int, int]] = []
    for place, face in enumerate(ordered):
        if face.photo_sha256:
            first = same.setdefault((face.photo_sha256, face.number), place)
            if first != place:
                pairs.append((first, place))
    exact = len(pairs)
    if kind == "near":
        hashed = [place for place, face in enumerate(ordered) if face.face_hash]
        near = near_pairs([ordered[place].face_hash for place in hashed])
        pairs += [(hashed[one], hashed[other]) for one, other in near.tolist()]
    # The shortest name first, for it is mostly the original's: `x` and then `x (1)`.
    groups = tuple(
        tuple(sorted((ordered[place].key for place in group), key=lambda key: (len(key), key)))
        for group in _groups(len(ordered), pairs)
    )
    return Duplicates(groups, exact, {key: group[0] for group in groups for key in group[1:]})


def near_pairs(hashes: Sequence[str], likeness: float = LIKENESS) -> NDArray[np.int64]:
    """Pairs of faces that look alike, mirrored or not: [P, 2] places, enough to join each group.

    The time is nearly in proportion to the number of hashes (locality-sensitive hashing: Indyk and
    Motwani, "Approximate nearest neighbors", STOC 1998).

    Args:
        hashes: see `face_hash.face_hash`; none is empty.
        likeness: the most that two of one group differ, share of their bits.
    """
    if len(hashes) < 2:
        return np.zeros((0, 2), np.int64)
    names, place = np.unique(np.array(hashes), return_inverse=True)
    bits = unpacked(names.tolist())
    every = np.concatenate([bits, mirrored(bits)])
    octets = np.packbits(every, axis=1)
    words = np.pad(octets, ((0, 0), (0, -octets.shape[1] % 8))).view(np.uint64)
    most = int(likeness * BITS)
    rng = np.random.default_rng(0)
    found = [_table_pairs(every, words, most, rng) for _ in range(_TABLES)]
    one, other = np.concatenate(found).T % len(names)
    near = np.stack(np.divmod(np.unique(one * len(names) + other), len(names)), axis=1)
    # Back from different hashes to faces: those of one hash hang on its first.
    first = np.full(len(names), -1, np.int64)
    first[place[::-1]] = np.arange(len(hashes))[::-1]
    others = np.flatnonzero(first[place] != np.arange(len(hashes)))
    same = np.stack([first[place[others]], others], axis=1)
    return np.concatenate([np.sort(first[near], axis=1), same])


def _table_pairs(
    bits: Pixels, words: NDArray[np.uint64], most: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Pairs that agree on some drawn bits and differ in at most `most` of all, [P, 2]."""
    chosen = rng.choice(np.arange(1, BITS), 2 * _TABLE_BITS, replace=False)
    value = bits[:, chosen].astype(np.int64) @ (1 << np.arange(2 * _TABLE_BITS, dtype=np.int64))
    # Those that agree are ordered by as many bits again, so that likes are near each other.
    order = np.argsort(value, kind="stable")
    value = value[order] >> _TABLE_BITS
    found = [np.zeros((0, 2), np.int64)]
    for step in range(1, _NEXT + 1):
        start = np.flatnonzero(value[:-step] == value[step:])
        if not len(start):
            break
        for some in np.array_split(start, -(-len(start) // _PAIRS_AT_ONCE)):
            one, other = order[some], order[some + step]
            apart = np.bitwise_count(words[one] ^ words[other]).sum(axis=1)
            near = apart <= most
            found.append(np.stack([one[near], other[near]], axis=1))
    return np.concatenate(found)


def _groups(count: int, pairs: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Places joined by pairs, each group in order, by their first; single ones are left out."""
    if not pairs:
        return []
    one, other = np.array(pairs).T
    graph = coo_array((np.ones(len(one), bool), (one, other)), shape=(count, count))
    _, label = connected_components(graph, directed=False)
    members: dict[int, list[int]] = defaultdict(list)
    sizes = Counter(label.tolist())
    for place, group in enumerate(label.tolist()):
        if sizes[group] > 1:
            members[group].append(place)
    return list(members.values())
