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
from multiprocessing import connection, get_context, parent_process
from pathlib import Path

from sfe_core.corpus.lock import worker_lock
from sfe_core.corpus.manifest import Row
from sfe_core.corpus.preprocessing.photo_jobs import PhotoJob, WorkSettings
from sfe_core.corpus.preprocessing.shard import load_models, take_in_jobs
from sfe_core.errors import RunError

HIDDEN_GPUS = {"CUDA_VISIBLE_DEVICES": ""}
# Processes beside each other use one thread each for their linear algebra.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

Jobs = tuple[PhotoJob, ...]
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
    with environment(**_ONE_THREAD, **HIDDEN_GPUS):
        pool = ProcessPoolExecutor(
            workers, get_context("spawn"), initializer=_join_run, initargs=(str(journal),)
        )
        pending: dict[Future[list[Row]], Jobs] = {}
        try:
            pool.submit(load_models, settings).result()
            for jobs in batches:
                begin(jobs)
                pending[pool.submit(take_in_jobs, settings, jobs)] = jobs
                if len(pending) >= 2 * workers:
                    yield from _finished(pending)
            while pending:
                yield from _finished(pending)
        except BrokenProcessPool as error:
            raise RunError(
                "preprocess",
                "a worker process died, often for lack of memory",
                "run it again with fewer: --cpu-processes 1",
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _finished(
    pending: dict[Future[list[Row]], Jobs],
) -> Iterator[tuple[Jobs, list[Row]]]:
    """Wait for one or more of the batches, and take them off."""
    for future in wait(pending, return_when=FIRST_COMPLETED).done:
        yield pending.pop(future), future.result()


def _join_run(journal: str) -> None:
    """First thing in a worker: end with the run, even one that is killed, and show that it works.

    Without this a killed run's workers would write on, into the next run's pictures.
    """
    global _held_lock  # noqa: PLW0603
    _held_lock = worker_lock(Path(journal))
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
