"""Photos that the corpus knows and that cannot be seen just now: an unmounted disk, a moved folder.

Their rows and pictures are kept, so that nothing is lost when they come back; only
`sfe preprocess --prune` forgets them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfe_core.corpus.manifest import MISSING, OK, WITH_PICTURES, Row
from sfe_core.files import key_of

_MOST_FOLDERS = 3


@dataclass(frozen=True)
class Presence:
    """Which photos are there.

    Attributes:
        photos: those that have a place, as paths below photos/ with extension.
        keys: their keys.
        refused: those that are there and can have no place.
        prune: whether photos that are not there are to be forgotten.
    """

    photos: frozenset[str]
    keys: frozenset[str]
    refused: frozenset[str] = frozenset()
    prune: bool = False

    def is_kept(self, photo: str) -> bool:
        """Whether a photo that is not there keeps its rows: another may have taken its key."""
        return not (self.prune or photo in self.refused or key_of(Path(photo), Path()) in self.keys)


def has_pictures(row: Mapping[str, Any]) -> bool:
    """Whether a row's pictures are in the corpus, be its photo there or not."""
    if row["status"] == MISSING:
        return row.get("inputs_sha256") is not None
    return row["status"] in WITH_PICTURES


def as_if_there(row: Mapping[str, Any]) -> Row:
    """A missing row as it was when its photo was there, to be judged by its measures."""
    if row["status"] != MISSING or not has_pictures(row):
        return dict(row)
    return dict(row) | {"status": OK, "reason": ""}


def as_missing(row: Mapping[str, Any], reason: str) -> Row:
    """A row whose photo cannot be seen."""
    return dict(row) | {"status": MISSING, "reason": reason}


def why_absent(folder: Path, photo: str) -> str:
    """Why a photo cannot be seen, with the place at fault.

    Args:
        folder: the photos folder.
        photo: path below it.
    """
    path = folder / photo
    for place in (path, *path.parents):
        if place == folder:
            break
        if place.is_symlink() and not place.exists():
            target = Path(os.readlink(place))
            lost = target.parent if place == path else target
            return f"links to {lost}, where it is not to be found"
    here = path.parent
    while here != folder and not here.is_dir():
        here = here.parent
    if here == path.parent:
        return f"is not in {_below(folder, here)} any more"
    gone = path.relative_to(here).parts[0]
    return f"{_below(folder, here / gone)} is not there"


def _below(folder: Path, place: Path) -> str:
    """A folder at or below the photos folder, as a user knows it."""
    return place.relative_to(folder.parent).as_posix()


def told(reasons: Iterable[str]) -> str:
    """One sentence about all absent photos.

    Args:
        reasons: one a photo, see `why_absent`.
    """
    counts = Counter(reasons)
    total = counts.total()
    named = [f"{n}: {reason}" for reason, n in counts.most_common(_MOST_FOLDERS)]
    if len(counts) > _MOST_FOLDERS:
        named.append(f"and {len(counts) - _MOST_FOLDERS} more places")
    photos = "1 photo" if total == 1 else f"{total} photos"
    return (
        f"{photos} of the corpus cannot be seen just now ({'; '.join(named)}): rows and pictures "
        "are kept, with status missing, and are not trained on until the photos are back; "
        "`sfe preprocess --prune` forgets them"
    )
