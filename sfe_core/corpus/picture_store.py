"""Where a corpus's pictures are read from: files of their own, or members of tar shards."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from sfe_core.corpus.layout import MANIFEST, artefact
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

    def touched(self, folder: str, keys: Iterable[str]) -> list[str]:
        """Those of `keys` whose picture may be newer than the manifest, hence another."""
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
        return [key for key in keys if not self._facts(folder, key)[0]]

    def touched(self, folder: str, keys: Iterable[str]) -> list[str]:
        """See `PictureStore.touched`; by the time of last change, as `make` does."""
        written = (self._corpus / MANIFEST).stat().st_mtime_ns
        return [key for key in keys if self._facts(folder, key)[1] >= written]

    def _facts(self, folder: str, key: str) -> tuple[int, int]:
        """Size in bytes and time of last change in ns; zeros where there is none."""
        try:
            found = artefact(self._corpus, folder, key).stat()
        except OSError:
            return 0, 0
        return found.st_size, found.st_mtime_ns
