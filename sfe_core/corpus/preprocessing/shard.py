"""One process's share of the photos, from the files to the journal."""

from __future__ import annotations

from collections.abc import Iterable

from joblib import cpu_count

from sfe_core.corpus.manifest import OK, Row
from sfe_core.corpus.preprocessing.decode_ahead import batches, decode_ahead
from sfe_core.corpus.preprocessing.journal import Journal
from sfe_core.corpus.preprocessing.photo_jobs import PhotoJob, WorkSettings
from sfe_core.corpus.preprocessing.photo_work import take_in
from sfe_core.reporting import Task

_MOST_THREADS = 8


def decode_threads(processes: int) -> int:
    """Loader threads of each of so many processes: the cores that the models leave free."""
    free = cpu_count() // processes - 1
    return max(1, min(_MOST_THREADS, free))


def load_models(settings: WorkSettings) -> None:
    """Load the models into this process, before anything is begun.

    Raises:
        SfeError: one is missing or torn.
    """
    take_in((), settings)


def take_in_jobs(settings: WorkSettings, jobs: Iterable[PhotoJob]) -> list[Row]:
    """Take photos in, and give their rows."""
    photos = decode_ahead(jobs, settings.config, settings.threads)
    return [row for batch in batches(photos) for row in take_in(batch, settings)]


def work_shard(
    settings: WorkSettings, jobs: Iterable[PhotoJob], notes: Journal, task: Task
) -> None:
    """Take photos in, and journal each batch as it is done.

    Raises:
        SfeError: what concerns all photos: a missing model, a full disk.
    """
    load_models(settings)
    usable = 0
    for batch in batches(decode_ahead(jobs, settings.config, settings.threads)):
        jobs_of_batch = [photo.job for photo in batch]
        notes.begin([job.photo for job in jobs_of_batch])
        rows = take_in(batch, settings)
        note_rows(settings, jobs_of_batch, rows, notes)
        usable += sum(row["status"] == OK for row in rows)
        task.advance(len(batch), f"{usable} usable")


def note_rows(
    settings: WorkSettings, jobs: Iterable[PhotoJob], rows: list[Row], notes: Journal
) -> None:
    """Say what made the rows, and journal them.

    Args:
        settings: what they were made with.
        jobs: whose rows they are.
        rows: all rows of these jobs.
        notes: the journal.
    """
    by_photo = {job.photo: job for job in jobs}
    described = []
    for row in rows:
        job = by_photo[row["photo"]]
        row = row | {"made_with": settings.hashes.of_photo(settings.corpus, row["key"]).text}
        if job.wanted is not None and row["photo_sha256"] not in ("", job.sha256):
            # The faces that are known are those of the photo as it was.
            row["status"] = "failed"
            row["reason"] = "the photo changed while it was at work; the next run takes it anew"
        described.append(row)
    notes.add(described, {job.photo for job in by_photo.values() if job.wanted is not None})
