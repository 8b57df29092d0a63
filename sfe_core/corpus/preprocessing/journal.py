"""What a run has done so far, appended to a file per shard: nothing whole is lost with the run.

A shard notes which photos it begins, then their rows. A photo that was begun and has no rows may
have any mixture of pictures on disk, so its earlier rows count no more. JSON lines: a torn one
can only be the last of its file, and is passed over.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Any

from sfe_core.corpus.manifest import Row
from sfe_core.errors import RunError

_SUFFIX = ".jsonl"


class Journal:
    """The notes of one shard, for appending.

    Args:
        folder: the corpus's journal folder.
        shard: a name no other shard of any unfinished run has.

    Raises:
        RunError: it cannot be written; also from both methods.
    """

    def __init__(self, folder: Path, shard: str) -> None:
        self._path = folder / f"{shard}{_SUFFIX}"
        try:
            self._stream = open(self._path, "ab", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise _unwritable(self._path, error) from error

    def begin(self, photos: Sequence[str]) -> None:
        """Note, before any picture of them is touched, that these photos are under way."""
        self._append({"begin": list(photos)})

    def add(self, rows: Iterable[Row], partial: Collection[str] = ()) -> None:
        """Note the rows of photos whose pictures are all written.

        Args:
            rows: all rows of each photo.
            partial: photos whose rows hold only what was made anew, to go over the earlier rows.
        """
        by_photo: dict[str, list[Row]] = {}
        for row in rows:
            by_photo.setdefault(row["photo"], []).append(row)
        for photo, held in by_photo.items():
            self._append({"photo": photo, "partial": photo in partial, "rows": held})

    def close(self) -> None:
        """Close the file; its notes stay."""
        self._stream.close()

    def _append(self, note: dict[str, Any]) -> None:
        line = json.dumps(note, default=_plain).encode() + b"\n"
        try:
            # One write per line, straight to the system: a killed process loses none of it.
            written = self._stream.write(line)
        except OSError as error:
            raise _unwritable(self._path, error) from error
        if written != len(line):
            raise RunError(self._path, "the disk is full", "free space, then run it again")


class JournalIndex:
    """Where the notes of all shards in a folder lie; the rows themselves stay on disk.

    Attributes:
        unfinished: photos that were begun and have no rows.
    """

    def __init__(self, folder: Path) -> None:
        self._places: dict[str, tuple[Path, int]] = {}
        self.unfinished: set[str] = set()
        # Names sort by run: what a later run noted counts.
        for path in sorted(folder.glob(f"*{_SUFFIX}")):
            for offset, note in _notes(path):
                if "begin" in note:
                    self.unfinished.update(note["begin"])
                    for photo in note["begin"]:
                        self._places.pop(photo, None)
                else:
                    self._places[note["photo"]] = (path, offset)
                    self.unfinished.discard(note["photo"])

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, photo: str) -> bool:
        return photo in self._places

    def groups(self) -> Iterator[tuple[str, bool, list[Row]]]:
        """(photo, partial, its rows), by photo; one photo's rows are in memory at a time."""
        with ExitStack() as stack:
            streams: dict[Path, IO[bytes]] = {}
            for photo in sorted(self._places):
                path, offset = self._places[photo]
                if path not in streams:
                    streams[path] = stack.enter_context(open(path, "rb"))
                streams[path].seek(offset)
                note = json.loads(streams[path].readline())
                yield photo, note["partial"], note["rows"]


def next_run(folder: Path) -> int:
    """A number above those of all runs that left notes in the folder."""
    numbers = [path.name.split("-")[0] for path in folder.glob(f"*{_SUFFIX}")]
    return 1 + max((int(number) for number in numbers if number.isdigit()), default=0)


def shard_name(run: int, shard: int) -> str:
    """The name of a shard's notes; sorts by run, then by shard."""
    return f"{run:06d}-{shard:04d}"


def _notes(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(offset, note) of every whole line."""
    with open(path, "rb") as stream:
        offset = 0
        for line in stream:
            if line.endswith(b"\n"):
                with suppress(ValueError):  # torn by a full disk; its photos stand as begun
                    yield offset, json.loads(line)
            offset += len(line)


def _plain(value: Any) -> Any:
    """numpy scalars and arrays as JSON has them."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not a value of a row")


def _unwritable(path: Path, error: OSError) -> RunError:
    return RunError(
        path,
        f"cannot be written ({error.strerror})",
        "free space or check permissions, then run it again",
    )
