"""One drawing process: `python -m sfe_core.sampling.share_worker REQUEST`, RANK of WORLD_SIZE.

Started N-fold through accelerate by `launch_shares`, one on each GPU. The processes share nothing
but the list of records: each draws every N-th.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sfe_core.config.workspace import Workspace
from sfe_core.processes.launching import run_workers
from sfe_core.processes.placement import Placement
from sfe_core.processes.worker import Rank, TellingReporter, ToldTask, run_as_worker
from sfe_core.reporting import Reporter, Task
from sfe_core.sampling.share import Record, Share, draw_share

MODULE = "sfe_core.sampling.share_worker"


@dataclass(frozen=True)
class Request:
    """What a worker is told: the records of all, and what their pictures have in common."""

    workspace: Workspace
    share: Share
    records: list[Record]


def launch_shares(
    share: Share,
    records: Sequence[Record],
    workspace: Workspace,
    placement: Placement,
    reporter: Reporter,
    task: Task,
) -> None:
    """Draw the records by several processes, and wait for their end.

    Raises:
        UserError, RunError: of a worker; or one died, with the end of what it wrote.
    """
    request = Request(workspace, share, list(records))
    run_workers(MODULE, request, placement, reporter, "drawing worker", task)


def work(request: Request, rank: Rank) -> None:
    """Draw one share: every N-th of the records.

    Raises:
        RunError: see `draw_share`.
    """
    from sfe_core.corpus.reader import Corpus

    device = rank.take_device()
    records = request.records[rank.rank :: rank.world_size]
    if records:
        corpus = Corpus.open(request.workspace)
        draw_share(request.share, records, corpus, device, TellingReporter(), ToldTask())


if __name__ == "__main__":
    run_as_worker(work, Request)
