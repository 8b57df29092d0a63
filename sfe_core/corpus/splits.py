"""Who is held out: deterministic, stratified by emotion, never an identity on both sides."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sfe_core.files import derive_seed

TRAIN = "train"
# Keys of the second, third … face in a photo end in #2, #3 …
_FURTHER_FACE = re.compile(r"#\d+$")


@dataclass(frozen=True)
class SplitItem:
    """A face to place: its key, whose it is (None: nobody else's) and its emotion, if known."""

    key: str
    identity: str | None
    emotion: str | None


def held_out_count(total: int, count: int, fraction: float) -> int:
    """Size of the held-out split: `count`, but at most `fraction` of all, and at least 1 of 2."""
    if total < 2 or fraction <= 0:
        return 0
    return max(1, min(count, int(total * fraction)))


def assign_splits(
    items: Sequence[SplitItem], name: str, count: int, fraction: float
) -> dict[str, str]:
    """The split of every key: `name` or "train".

    Identities are visited in an order that hashes their names, so photos that are added later
    move few others. One joins the held-out split if that brings its emotions nearer to their
    share of the whole and keeps it within its size.

    Args:
        items: the faces; keys are unique.
        name: of the held-out split.
        count, fraction: its size, see `held_out_count`.
    """
    groups: dict[str, list[SplitItem]] = defaultdict(list)
    for item in items:
        groups[_group(item)].append(item)
    room = held_out_count(len(items), count, fraction)
    need = _apportion(Counter(item.emotion for item in items), room)
    order = sorted(groups, key=lambda group: (derive_seed("split", name, group), group))
    chosen: set[str] = set()
    for tolerant in (False, True):
        for group in order:
            held = Counter(item.emotion for item in groups[group])
            if group in chosen or len(groups[group]) > room:
                continue
            exceeds = any(held[emotion] > need[emotion] for emotion in held)
            gain = sum(abs(need[e]) - abs(need[e] - n) for e, n in held.items())
            if exceeds and not (tolerant and gain > 0):
                continue
            chosen.add(group)
            room -= len(groups[group])
            need.subtract(held)
    if not chosen and room and len(groups) > 1:
        chosen.add(min(order, key=lambda group: len(groups[group])))
    return {
        item.key: name if group in chosen else TRAIN
        for group, members in groups.items()
        for item in members
    }


def _group(item: SplitItem) -> str:
    """Faces of one group stand on one side: those of a person, or those found in one photo."""
    if item.identity:
        return f"identity {item.identity}"
    return f"key {_FURTHER_FACE.sub('', item.key)}"


def _apportion(present: Counter[str | None], room: int) -> Counter[str | None]:
    """`room` places shared out over the emotions by largest remainder."""
    total = sum(present.values())
    exact = {emotion: room * n / total for emotion, n in present.items()}
    places = Counter({emotion: int(share) for emotion, share in exact.items()})
    by_remainder = sorted(exact, key=lambda e: (places[e] - exact[e], str(e)))
    for emotion in by_remainder[: room - sum(places.values())]:
        places[emotion] += 1
    return places
