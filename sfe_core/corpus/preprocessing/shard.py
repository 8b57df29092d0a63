"""One process's share of the photos, from the files to the journal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from joblib import cpu_count

from sfe_core.config.corpus_sections import PreprocessConfig
from sfe_core.corpus.artefacts.hashes import ArtefactHashes
from sfe_core.corpus.manifest import OK, Row
from sfe_core.corpus.preprocessing.decode_ahead import batches, decode_ahead
from sfe_core.corpus.preprocessing.journal import Journal
from sfe_core.corpus.preprocessing.photo_jobs import PhotoJob, WorkOrder
from sfe_core.corpus.preprocessing.photo_work import take_in
from sfe_core.reporting import Task

_MOST_THREADS = 8


@dataclass(frozen=True)
class Shard:
    """What a share of the photos is taken in with."""

    corpus: Path
    config: PreprocessConfig
    hashes: ArtefactHashes
    threads: int  # that decode ahead of the models

    def order(self, jobs: Iterable[PhotoJob] = ()) -> WorkOrder:
        """The order for some jobs."""
        return WorkOrder(tuple(jobs), self.corpus, self.config, self.hashes.whole)


def decode_threads(processes: int) -> int:
    """Loader threads of each of so many processes: the cores that the models leave free."""
    free = cpu_count() // processes - 1
    return max(1, min(_MOST_THREADS, free))


def load_models(shard: Shard) -> None:
    """Load the models into this process, before anything is begun.

    Raises:
        SfeError: one is missing or torn.
    """
    take_in((), shard.order())


def take_in_jobs(shard: Shard, jobs: Iterable[PhotoJob]) -> list[Row]:
    """Take photos in, and give their rows."""
    photos = decode_ahead(jobs, shard.config, shard.threads)
    return [
        row
        for batch in batches(photos)
        for row in take_in(batch, shard.order(photo.job for photo in batch))
    ]


def work_shard(shard: Shard, jobs: Iterable[PhotoJob], notes: Journal, task: Task) -> None:
    """Take photos in, and journal each batch as it is done.

    Raises:
        SfeError: what concerns all photos: a missing model, a full disk.
    """
    load_models(shard)
    usable = 0
    for batch in batches(decode_ahead(jobs, shard.config, shard.threads)):
        order = shard.order(photo.job for photo in batch)
        notes.begin([job.photo for job in order.jobs])
        rows = take_in(batch, order)
        note_rows(shard, order.jobs, rows, notes)
        usable += sum(row["status"] == OK for row in rows)
        task.advance(len(batch), f"{usable} usable")


def note_rows(shard: Shard, jobs: Iterable[PhotoJob], rows: list[Row], notes: Journal) -> None:
    """Say what made the rows, and journal them.

    Args:
        shard: that they are of.
        jobs: whose rows they are.
        rows: all rows of these jobs.
        notes: the journal.
    """
    by_photo = {job.photo: job for job in jobs}
    described = []
    for row in rows:
        job = by_photo[row["photo"]]
        row = row | {"made_with": shard.hashes.of_photo(shard.corpus, row["key"]).text}
        if job.wanted is not None and row["photo_sha256"] not in ("", job.sha256):
            # The faces that are known are those of the photo as it was.
            row["status"] = "failed"
            row["reason"] = "the photo changed while it was at work; the next run takes it anew"
        described.append(row)
    notes.add(described, {job.photo for job in by_photo.values() if job.wanted is not None})
