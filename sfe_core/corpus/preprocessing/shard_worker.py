"""`python -m sfe_core.corpus.preprocessing.shard_worker REQUEST`: one worker, RANK of WORLD_SIZE.

Started N-fold through accelerate by `launch_shards`, one on each GPU. The processes share nothing
but the list of jobs: each takes every N-th, and has a journal of its own.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from sfe_core.corpus.layout import MANIFEST
from sfe_core.corpus.lock import worker_lock
from sfe_core.corpus.preprocessing.journal import Journal, shard_name
from sfe_core.corpus.preprocessing.photo_jobs import PhotoJob, WorkSettings
from sfe_core.corpus.preprocessing.plan import with_known_faces
from sfe_core.corpus.preprocessing.shard import decode_threads, work_shard
from sfe_core.processes.launching import run_workers
from sfe_core.processes.placement import Placement
from sfe_core.processes.worker import Rank, ToldTask, run_as_worker
from sfe_core.reporting import Reporter, Task

MODULE = "sfe_core.corpus.preprocessing.shard_worker"
_JOBS = "jobs.json"


@dataclass(frozen=True)
class Request:
    """What a worker is told: what to take photos in with, number and journal of the run."""

    settings: WorkSettings
    run: int
    journal: Path


def launch_shards(
    settings: WorkSettings,
    jobs: Sequence[PhotoJob],
    placement: Placement,
    run: int,
    journal: Path,
    reporter: Reporter,
    task: Task,
) -> None:
    """Take the jobs in by several processes, one on each GPU, and wait for their end.

    Args:
        settings: what they are taken in with; each process decodes in a share of its threads.
        jobs: ordered by photo.
        placement: the processes.
        run, journal: of the run.
        reporter: takes what the workers say.
        task: takes their progress.

    Raises:
        UserError, RunError: of a worker; or one died, with the end of what it wrote.
    """
    with open(journal / _JOBS, "w", encoding="utf-8") as stream:
        for job in jobs:
            wanted = None if job.wanted is None else sorted(job.wanted)
            stream.write(json.dumps([str(job.path), job.photo, job.key, job.sha256, wanted]) + "\n")
    threads = decode_threads(placement.processes)
    request = Request(dataclasses.replace(settings, threads=threads), run, journal)
    run_workers(MODULE, request, placement, reporter, "preprocess worker", task)


def work(request: Request, rank: Rank) -> None:
    """Work one shard: every N-th of the jobs.

    Raises:
        SfeError: see `work_shard`.
    """
    held = worker_lock(request.journal)
    rank.take_device()
    jobs = islice(_read_jobs(request.journal), rank.rank, None, rank.world_size)
    try:
        notes = Journal(request.journal, shard_name(request.run, rank.rank))
        known = with_known_faces(jobs, request.settings.corpus / MANIFEST)
        work_shard(request.settings, known, notes, ToldTask())
    finally:
        held.release()


def _read_jobs(journal: Path) -> Iterator[PhotoJob]:
    with open(journal / _JOBS, encoding="utf-8") as stream:
        for line in stream:
            path, photo, key, sha256, wanted = json.loads(line)
            kinds = None if wanted is None else frozenset(wanted)
            yield PhotoJob(Path(path), photo, key, sha256, kinds)


if __name__ == "__main__":
    run_as_worker(work, Request)
