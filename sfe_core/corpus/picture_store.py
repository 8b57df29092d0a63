"""Where a corpus's pictures are read from: files of their own, or members of tar shards."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from sfe_core.corpus.layout import artefact
from sfe_core.errors import RunError

MEND = "run `sfe preprocess` to write it again"


class PictureStore(Protocol):
    """Gives the bytes of a corpus's pictures; picklable, for loader processes."""

    def read(self, folder: str, key: str) -> bytes:
        """The PNG of `key` in a corpus folder.

        Raises:
            RunError: it is not there or cannot be read.
        """
        ...

    def place(self, folder: str, key: str) -> str:
        """What to call that picture in an error."""
        ...

    def missing(self, folder: str, keys: Iterable[str]) -> list[str]:
        """Those of `keys` that have no picture, or an empty one, in a corpus folder."""
        ...


class FolderStore:
    """A corpus folder as preprocess writes it, one file per picture."""

    def __init__(self, corpus: Path) -> None:
        self._corpus = corpus

    def read(self, folder: str, key: str) -> bytes:
        """See `PictureStore.read`."""
        path = artefact(self._corpus, folder, key)
        try:
            return path.read_bytes()
        except OSError as error:
            raise RunError(path, f"cannot be read ({error.strerror})", MEND) from error

    def place(self, folder: str, key: str) -> str:
        """See `PictureStore.place`."""
        return str(artefact(self._corpus, folder, key))

    def missing(self, folder: str, keys: Iterable[str]) -> list[str]:
        """See `PictureStore.missing`."""
        return [key for key in keys if not _has_content(artefact(self._corpus, folder, key))]


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False
