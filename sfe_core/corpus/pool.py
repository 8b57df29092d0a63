"""Work orders over the processes of one machine's CPU."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import connection, get_context, parent_process
from pathlib import Path

from sfe_core.corpus.decode_ahead import batches, decode_ahead
from sfe_core.corpus.lock import worker_lock
from sfe_core.corpus.photo_work import Row, WorkOrder, take_in
from sfe_core.errors import RunError

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# One photo is read and decoded while the one before is looked at.
_DECODE_THREADS = 1
_held_lock: object = None  # a worker's lock, for as long as the process lives


def take_in_order(order: WorkOrder) -> list[Row]:
    """Take the photos of an order into the corpus; the rows of all of them."""
    photos = decode_ahead(order.jobs, order.config, _DECODE_THREADS)
    return [row for batch in batches(photos) for row in take_in(batch, order)]


def load_models(order: WorkOrder) -> None:
    """Load the models that an order needs into this process, before anything is begun.

    Raises:
        SfeError: one is missing or torn.
    """
    take_in((), order)


def rows_of_orders(
    models: WorkOrder,
    orders: Iterator[WorkOrder],
    workers: int,
    journal: Path,
    begin: Callable[[WorkOrder], None],
) -> Iterator[tuple[WorkOrder, list[Row]]]:
    """Each order with its rows, as they come; never more than two orders per worker under way.

    Args:
        models: an order without photos, whose models are loaded before the first one begins.
        orders: drawn from as workers come free.
        workers: processes; with one, the work is done in this process.
        journal: the corpus's journal folder.
        begin: called with each order before anything of it is done.

    Raises:
        SfeError: what concerns all photos: a missing model, a full disk, a worker that died.
    """
    if workers == 1:
        load_models(models)
        for order in orders:
            begin(order)
            yield order, take_in_order(order)
        return
    with _single_threaded_children():
        pool = ProcessPoolExecutor(
            workers, get_context("spawn"), initializer=_join_run, initargs=(str(journal),)
        )
        pending: dict[Future[list[Row]], WorkOrder] = {}
        try:
            pool.submit(load_models, models).result()
            for order in orders:
                begin(order)
                pending[pool.submit(take_in_order, order)] = order
                if len(pending) >= 2 * workers:
                    yield from _finished(pending)
            while pending:
                yield from _finished(pending)
        except BrokenProcessPool as error:
            raise RunError(
                "preprocess",
                "a worker process died, often for lack of memory",
                "run it again with fewer: --set preprocess.workers=1",
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _finished(
    pending: dict[Future[list[Row]], WorkOrder],
) -> Iterator[tuple[WorkOrder, list[Row]]]:
    """Wait for one or more of the orders, and take them off."""
    for future in wait(pending, return_when=FIRST_COMPLETED).done:
        yield pending.pop(future), future.result()


def _join_run(journal: str) -> None:
    """First thing in a worker: end with the run, even one that is killed, and show that it works.

    Without this a killed run's workers would write on, into the next run's pictures.
    """
    global _held_lock
    _held_lock = worker_lock(Path(journal))
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


@contextmanager
def _single_threaded_children() -> Iterator[None]:
    """Processes started inside use one thread each for their linear algebra."""
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
