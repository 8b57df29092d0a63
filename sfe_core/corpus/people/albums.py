"""Albums: photos of one person each, flat below photos/ or in a folder per person."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from sfe_core.corpus.people.people_folders import own_folders
from sfe_core.errors import UserError


def person_of(key: str) -> str:
    """Whose album a photo belongs to: its topmost folder; "" where photos lie flat.

    Folders that are no one's (`happy`, `train`, `images`, dates) are passed over.

    >>> person_of("anna/holiday/3"), person_of("3"), person_of("happy/3")
    ('anna', '', '')
    """
    return next(iter(own_folders(key)), "")


def albums_of(keys: Iterable[str]) -> dict[str, list[str]]:
    """Person → keys of their photos, by name."""
    found: dict[str, list[str]] = defaultdict(list)
    for key in keys:
        found[person_of(key)].append(key)
    return dict(sorted(found.items()))


def choose_album(keys: Iterable[str], person: str | None, where: str) -> str:
    """The person to learn: the one asked for, or the only one there is.

    Args:
        keys: of the photos that can be used.
        person: who is asked for, a folder of photos/.
        where: what asked, for the error.

    Raises:
        UserError: there are several people and none was named, or there is none of that name.
    """
    people = list(albums_of(keys))
    named = [name for name in people if name]
    if person is not None:
        if person in named:
            return person
        who = f"photos/ has albums of: {', '.join(named)}" if named else "photos/ has no folder"
        raise UserError(f"{where} {person}", "has no photo of status ok", who)
    if len(people) > 1:
        loose = " and loose photos" if "" in people else ""
        raise UserError(
            where,
            f"there are albums of {', '.join(named)}{loose}",
            f"name one, as in `sfe train --person {named[0]}`",
        )
    return people[0] if people else ""
