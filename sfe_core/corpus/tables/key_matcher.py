"""From the paths in somebody's list to the keys of the photos there are."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import PurePosixPath


class KeyMatcher:
    """Finds the photo that a path in somebody's list means.

    A listed path matches by its longest tail that is a key, so that absolute paths of another
    machine work; Unicode is compared in its composed form, extensions are optional. Where nothing
    is spelt so, upper and lower case are the same, if that leaves one photo.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        self._keys = {_composed(key): key for key in keys}
        counts = Counter(key.casefold() for key in self._keys)
        self._folded = {
            key.casefold(): found
            for key, found in self._keys.items()
            if counts[key.casefold()] == 1
        }
        self._names: dict[str, list[str]] = {}  # name → its keys
        for composed, key in self._keys.items():
            self._names.setdefault(composed.rpartition("/")[2].casefold(), []).append(key)

    def exact(self, name: str) -> str | None:
        """The key spelt `name`, with or without an extension."""
        return _find(self._keys, _composed(name.replace("\\", "/")))

    def tail(self, path: str) -> str | None:
        """The key that is the longest tail of `path`."""
        parts = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".")]
        name = PurePosixPath(_composed(parts[-1]).casefold() if parts else "")
        if name.name not in self._names and name.stem not in self._names:
            return None  # most lines of a list that is about more photos than there are
        tails = [_composed("/".join(parts[first:])) for first in range(len(parts))]
        spelt = (_find(self._keys, tail) for tail in tails)
        folded = (_find(self._folded, tail.casefold()) for tail in tails)
        return next((key for key in chain(spelt, folded) if key is not None), None)

    def named(self, name: str) -> list[str]:
        """The keys, in whatever folder, of a name that is listed without one; [] for paths."""
        plain = _composed(name.replace("\\", "/")).casefold()
        if "/" in plain:
            return []
        return self._names.get(plain) or self._names.get(PurePosixPath(plain).stem, [])


def _find(keys: Mapping[str, str], name: str) -> str | None:
    path = PurePosixPath(name)
    bare = str(path.with_suffix("")) if path.name else ""
    return keys.get(str(path)) or keys.get(bare)


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)
