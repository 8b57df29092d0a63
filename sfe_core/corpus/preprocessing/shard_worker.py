"""`python -m sfe_core.corpus.preprocessing.shard_worker REQUEST`: one worker, RANK of WORLD_SIZE.

Started N-fold through accelerate by `launch_shards`, one on each GPU. The processes share nothing
but the list of jobs: each takes every N-th, and has a journal of its own.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from sfe_core.config.corpus_sections import PreprocessConfig
from sfe_core.corpus.artefacts.hashes import ArtefactHashes
from sfe_core.corpus.layout import MANIFEST
from sfe_core.corpus.lock import worker_lock
from sfe_core.corpus.preprocessing.journal import Journal, shard_name
from sfe_core.corpus.preprocessing.photo_jobs import PhotoJob
from sfe_core.corpus.preprocessing.plan import with_known_faces
from sfe_core.corpus.preprocessing.shard import Shard, decode_threads, work_shard
from sfe_core.errors import SfeError
from sfe_core.processes.launching import follow, launcher_argv, launcher_env
from sfe_core.processes.placement import Placement
from sfe_core.processes.worker_events import ToldTask, end_with_launcher, tell_error
from sfe_core.reporting import Reporter, Task

MODULE = "sfe_core.corpus.preprocessing.shard_worker"
_JOBS = "jobs.json"


@dataclass(frozen=True)
class _Request:
    """What a worker is told, beside its rank."""

    shard: Shard
    run: int
    journal: Path

    def to_json(self) -> str:
        return json.dumps(
            {
                "corpus": str(self.shard.corpus),
                "config": self.shard.config.model_dump(mode="json"),
                "hashes": self.shard.hashes.by_kind,
                "threads": self.shard.threads,
                "run": self.run,
                "journal": str(self.journal),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> _Request:
        told = json.loads(text)
        shard = Shard(
            Path(told["corpus"]),
            PreprocessConfig.model_validate(told["config"]),
            ArtefactHashes(told["hashes"]),
            told["threads"],
        )
        return cls(shard, told["run"], Path(told["journal"]))


def launch_shards(
    shard: Shard,
    jobs: Sequence[PhotoJob],
    placement: Placement,
    run: int,
    journal: Path,
    reporter: Reporter,
    task: Task,
) -> None:
    """Take the jobs in by several processes, one on each GPU, and wait for their end.

    Args:
        shard: what they are taken in with; each process decodes in a share of its threads.
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
    shared = Shard(shard.corpus, shard.config, shard.hashes, threads)
    text = _Request(shared, run, journal).to_json()
    argv = launcher_argv(MODULE, placement.device, placement.processes, [text])
    environment = launcher_env(placement.device, placement.processes, os.environ)
    follow(argv, environment, reporter, "preprocess worker", task)


def main(arguments: Sequence[str]) -> int:
    """Work one shard; returns the exit code."""
    request = _Request.from_json(arguments[0])
    rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    held = worker_lock(request.journal)
    _choose_device(int(os.environ.get("LOCAL_RANK", rank)))
    jobs = islice(_read_jobs(request.journal), rank, None, count)
    try:
        notes = Journal(request.journal, shard_name(request.run, rank))
        known = with_known_faces(jobs, request.shard.corpus / MANIFEST)
        work_shard(request.shard, known, notes, ToldTask())
    except SfeError as error:
        tell_error(error)
        return error.exit_code
    finally:
        held.release()
    return 0


def _choose_device(local_rank: int) -> None:
    """Make this process's own GPU the one that `cuda` means; no process group is needed."""
    import torch

    if os.environ.get("ACCELERATE_USE_CPU") != "true":
        torch.cuda.set_device(local_rank)


def _read_jobs(journal: Path) -> Iterator[PhotoJob]:
    with open(journal / _JOBS, encoding="utf-8") as stream:
        for line in stream:
            path, photo, key, sha256, wanted = json.loads(line)
            kinds = None if wanted is None else frozenset(wanted)
            yield PhotoJob(Path(path), photo, key, sha256, kinds)


if __name__ == "__main__":
    end_with_launcher()
    sys.exit(main(sys.argv[1:]))
