"""The photos over the processes of one machine's CPU, batch by batch, whoever is free.

No launcher here: these processes share nothing, and need not import torch to start.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from typing import TypeVar

from sfe_core.corpus.lock import worker_lock
from sfe_core.corpus.manifest import Row
from sfe_core.corpus.preprocessing.photo_jobs import PhotoJob, WorkSettings
from sfe_core.corpus.preprocessing.shard import load_models, take_in_jobs
from sfe_core.errors import RunError

HIDDEN_GPUS = {"CUDA_VISIBLE_DEVICES": ""}
# Processes beside each other use one thread each for their linear algebra.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

Jobs = tuple[PhotoJob, ...]
Answer = TypeVar("Answer")
_held_lock: object = None  # a worker's lock, for as long as the process lives


def rows_of_batches(
    settings: WorkSettings,
    batches: Iterator[Jobs],
    workers: int,
    journal: Path,
    begin: Callable[[Jobs], None],
) -> Iterator[tuple[Jobs, list[Row]]]:
    """Each batch of jobs with its rows, as they come; at most two per worker under way.

    Args:
        settings: what they are taken in with.
        batches: drawn from as workers come free.
        workers: processes.
        journal: the corpus's journal folder.
        begin: called with each batch before anything of it is done.

    Raises:
        SfeError: what concerns all photos: a missing model, a full disk, a worker that died.
    """
    yield from answers_of_batches(
        partial(take_in_jobs, settings),
        batches,
        workers,
        prepare=partial(load_models, settings),
        join=partial(_join_run, str(journal)),
        what="preprocess",
        begin=begin,
    )


def answers_of_batches(
    work: Callable[[Jobs], Answer],
    batches: Iterator[Jobs],
    workers: int,
    *,
    prepare: Callable[[], object],
    join: Callable[[], None],
    what: str,
    begin: Callable[[Jobs], None] = lambda _: None,
) -> Iterator[tuple[Jobs, Answer]]:
    """Each batch of jobs with what a process answers, as they come; two per worker under way.

    Args:
        work: done of a batch by a worker; as all that goes there, it can be pickled.
        batches: drawn from as workers come free.
        workers: processes.
        prepare: done by one of them before anything is begun, so that what is missing is told.
        join: done by each of them first of all.
        what: the command, for errors.
        begin: called here with each batch before anything of it is done.

    Raises:
        SfeError: what concerns all photos: a missing model, a full disk, a worker that died.
    """
    with environment(**_ONE_THREAD, **HIDDEN_GPUS):
        pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=join)
        pending: dict[Future[Answer], Jobs] = {}
        try:
            pool.submit(prepare).result()
            for jobs in batches:
                begin(jobs)
                pending[pool.submit(work, jobs)] = jobs
                if len(pending) >= 2 * workers:
                    yield from _finished(pending)
            while pending:
                yield from _finished(pending)
        except BrokenProcessPool as error:
            raise RunError(
                what,
                "a worker process died, often for lack of memory",
                "run it again with fewer: --workers 1",
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _finished(pending: dict[Future[Answer], Jobs]) -> Iterator[tuple[Jobs, Answer]]:
    """Wait for one or more of the batches, and take them off."""
    for future in wait(pending, return_when=FIRST_COMPLETED).done:
        yield pending.pop(future), future.result()


def _join_run(journal: str) -> None:
    """First thing in a worker of preprocess: show that it works, and end with the run."""
    global _held_lock  # noqa: PLW0603
    _held_lock = worker_lock(Path(journal))
    end_with_parent()


def end_with_parent() -> None:
    """End this process as soon as the one that started it does, even if that one is killed.

    Without this a killed run's workers would write on, into the next run's pictures.
    """
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


@contextmanager
def environment(**changes: str) -> Iterator[None]:
    """The process environment with some changes, as it was again afterwards."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
