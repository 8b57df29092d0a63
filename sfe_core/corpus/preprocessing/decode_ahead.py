"""Photos decoded in loader threads ahead of the models, in order, within a memory budget.

Threads, not processes: PIL decodes outside Python's lock, and pixels need no copying across.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from sfe_core.config.corpus_sections import PreprocessConfig
from sfe_core.corpus.preprocessing.photo_jobs import DecodedPhoto, PhotoJob, decode_job

# Decoded photos waiting for the models: at most this many per thread and about this much.
_AHEAD_PER_THREAD = 4
_AHEAD_BYTES = 192 << 20
_BATCH_PHOTOS = 16
_BATCH_BYTES = 96 << 20


def decode_ahead(
    jobs: Iterable[PhotoJob], config: PreprocessConfig, threads: int
) -> Iterator[DecodedPhoto]:
    """The photos of `jobs`, in their order; a photo that cannot be decoded says so itself.

    Args:
        jobs: drawn from as room comes free, in the caller's thread.
        config: of preprocess.
        threads: how many decode at a time.
    """
    waiting: deque[Future[DecodedPhoto]] = deque()
    source = iter(jobs)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="sfe-decode")

    def fill() -> None:
        while len(waiting) < threads * _AHEAD_PER_THREAD and _held(waiting) < _AHEAD_BYTES:
            job = next(source, None)
            if job is None:
                return
            waiting.append(pool.submit(decode_job, job, config))

    try:
        fill()
        while waiting:
            photo = waiting.popleft().result()
            fill()
            yield photo
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def batches(photos: Iterable[DecodedPhoto]) -> Iterator[list[DecodedPhoto]]:
    """Photos in groups of at most 16, and fewer where they are large."""
    batch: list[DecodedPhoto] = []
    size = 0
    for photo in photos:
        if batch and (len(batch) == _BATCH_PHOTOS or size + _bytes(photo) > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(photo)
        size += _bytes(photo)
    if batch:
        yield batch


def _held(waiting: Iterable[Future[DecodedPhoto]]) -> int:
    return sum(_bytes(future.result()) for future in waiting if _succeeded(future))


def _succeeded(future: Future[DecodedPhoto]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def _bytes(photo: DecodedPhoto) -> int:
    return 0 if photo.pixels is None else photo.pixels.nbytes
