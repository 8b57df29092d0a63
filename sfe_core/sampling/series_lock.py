"""One run at a time in a series of pictures; who comes second waits, and finds them drawn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from sfe_core.errors import RunError
from sfe_core.files import TEMPORARY_MARK
from sfe_core.reporting import Reporter

_LOCK = ".lock"


@contextmanager
def series_lock(folder: Path, reporter: Reporter) -> Iterator[None]:
    """Hold a series' folder (made) for this process, free of what a killed run left half-written.

    The system lets go of the lock when the process ends, however it ends.

    Raises:
        RunError: the folder cannot be written.
    """
    lock = FileLock(folder / _LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            reporter.say(f"another run draws in {folder}: waiting for its end")
            lock.acquire()
        for partial in folder.rglob(f"{TEMPORARY_MARK}*"):
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(
            folder, f"cannot be written ({error.strerror})", "check its permissions and space"
        ) from error
    try:
        yield
    finally:
        lock.release()
