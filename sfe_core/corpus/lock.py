"""One run at a time in a corpus, and nothing left behind by a run that was killed.

While `preprocess` works it keeps its notes in `corpus/.journal/`; the folder's presence at the
start of a run means that the last one did not come to its end.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

from filelock import FileLock, Timeout

from sfe_core.corpus.layout import MANIFEST, PREVIEW
from sfe_core.errors import RunError
from sfe_core.files import TEMPORARY_MARK, write_json

JOURNAL_FOLDER = ".journal"
_LOCK = ".lock"
_HOLDER = "holder.json"
_WORKER_LOCK = "worker-*.lock"
# Workers of a killed run notice within moments; one that is deep in a batch may need a while.
_WORKER_WAIT_S = 30.0
_HOLDER_WAIT_S, _HOLDER_POLL_S = 0.5, 0.02


@contextmanager
def corpus_lock(corpus: Path) -> Iterator[Path]:
    """Hold the corpus for this process; gives the journal folder, made.

    The system lets go of the lock when the process ends, however it ends.

    Raises:
        RunError: another run holds it, a worker of a killed run still writes, or the folder
            cannot be written.
    """
    journal = Path(corpus) / JOURNAL_FOLDER
    try:
        Path(corpus).mkdir(parents=True, exist_ok=True)
        lock = FileLock(Path(corpus) / _LOCK)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise _held(corpus) from error
    except OSError as error:
        raise RunError(
            corpus, f"cannot be written ({error.strerror})", "check its permissions and space"
        ) from error
    try:
        _make(journal)  # first, so that a run that is turned away meanwhile is told of this one
        _await_workers(journal)
        yield journal
    finally:
        lock.release()


@contextmanager
def no_run_at_work(corpus: Path) -> Iterator[None]:
    """Keep runs out of a corpus while it is only read; where it cannot be written none can be.

    Raises:
        RunError: a run is at work.
    """
    lock = FileLock(Path(corpus) / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise _held(corpus) from error
    except OSError:
        pass
    try:
        yield
    finally:
        lock.release()


def close_journal(journal: Path) -> None:
    """Forget the notes of a run that came to its end."""
    shutil.rmtree(journal, ignore_errors=True)


def worker_lock(journal: Path) -> FileLock:
    """The lock that a worker process holds for as long as it may write; taken here."""
    lock = FileLock(journal / _WORKER_LOCK.replace("*", str(os.getpid())))
    lock.acquire(timeout=0)
    return lock


def sweep_partials(corpus: Path, folders: Iterable[Path]) -> int:
    """Remove the half-written files of a killed run; call it under the lock.

    Only where `preprocess` alone writes: `folders` and their sub-folders, and beside the corpus's
    own index files.

    Returns:
        How many there were.
    """
    own = (f"-{MANIFEST}", f"-{PREVIEW}")
    found = [path for path in corpus.glob(f"{TEMPORARY_MARK}*") if path.name.endswith(own)]
    for folder in folders:
        found += folder.rglob(f"{TEMPORARY_MARK}*")
    for path in found:
        path.unlink(missing_ok=True)
    return len(found)


def _make(journal: Path) -> None:
    try:
        journal.mkdir(exist_ok=True)
    except OSError as error:
        raise RunError(
            journal, f"cannot be written ({error.strerror})", "check its permissions and space"
        ) from error
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    # Whole or not at all: another run may read it at this moment.
    write_json(journal / _HOLDER, {"pid": os.getpid(), "started": started})


def _held(corpus: Path) -> RunError:
    return RunError(
        corpus,
        f"another `sfe preprocess` is at work in it{_holder(corpus / JOURNAL_FOLDER)}",
        "wait for its end, or stop it first",
    )


def _holder(journal: Path) -> str:
    """Who holds the lock, as the end of a clause; empty where that is not known.

    A run that has only just taken the lock is given a moment to say so.
    """
    deadline = time.monotonic() + _HOLDER_WAIT_S
    while True:
        try:
            known = json.loads((journal / _HOLDER).read_text(encoding="utf-8"))
            return f" (process {known['pid']}, since {known['started']})"
        except (OSError, ValueError, KeyError, TypeError):
            if time.monotonic() >= deadline:
                return ""
            time.sleep(_HOLDER_POLL_S)


def _await_workers(journal: Path) -> None:
    """Wait until every worker of a killed run is gone."""
    for path in sorted(journal.glob(_WORKER_LOCK)):
        lock = FileLock(path)
        try:
            lock.acquire(timeout=_WORKER_WAIT_S)
        except Timeout as error:
            number = path.stem.split("-")[-1]
            raise RunError(
                path.parent.parent,
                f"process {number} of a run that was killed still works in it",
                f"end that process (kill {number}), then run `sfe preprocess` again",
            ) from error
        lock.release()
        path.unlink(missing_ok=True)
