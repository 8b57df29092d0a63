"""Who is held out: deterministic, stratified by emotion, never an identity on both sides."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
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
    items: Sequence[SplitItem],
    name: str,
    count: int,
    fraction: float,
    alike: Collection[Sequence[str]] = (),
) -> dict[str, str]:
    """The split of every key: `name` or "train".

    Identities are visited in an order that hashes their names, so photos that are added later
    move few others. One joins the held-out split if that brings its emotions nearer to their
    share of the whole and keeps it within its size.

    Args:
        items: the faces; keys are unique.
        name: of the held-out split.
        count, fraction: its size, see `held_out_count`.
        alike: keys that show the same; they and all that stands with them stand on one side.
    """
    groups = _groups(items, alike)
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


def _groups(
    items: Sequence[SplitItem], alike: Collection[Sequence[str]]
) -> dict[str, list[SplitItem]]:
    """The items that stand on one side, by the group's name, see `_group`.

    Groups that `alike` joins bear the first name of theirs, so that the names of people win.
    """
    own = {item.key: _group(item) for item in items}
    above: dict[str, str] = {}

    def top(group: str) -> str:
        while group in above:
            group = above[group]
        return group

    for keys in alike:
        joined = sorted({top(own[key]) for key in keys if key in own})
        for group in joined[1:]:
            above[group] = joined[0]
    groups: dict[str, list[SplitItem]] = defaultdict(list)
    for item in items:
        groups[top(own[item.key])].append(item)
    return groups


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
