"""One process of a run or of its rehearsal: `python -m sfe_core.runs.worker REQUEST`.

Started N-fold by `worker_request.start_workers`, through accelerate or torchrun. Called by hand,
REQUEST is JSON and may name no more than the workspace: `'{"workspace": "my-work"}'` trains as its
sfe.yaml says.
"""

from __future__ import annotations

import dataclasses
import os
import signal
from functools import partial
from typing import Any

from sfe_core.config.loading import load_workspace
from sfe_core.config.workspace import Workspace
from sfe_core.processes.worker import Rank, TellingReporter, run_as_worker, tell
from sfe_core.reporting import Reporter
from sfe_core.runs.worker_request import Request


def work(request: Request, rank: Rank) -> Any:
    """Do one process's part of a task; the first process tells of progress.

    Returns:
        A TrainSummary, a preflight's Measured, or a list of these.

    Raises:
        SfeError: see `loop.train` and `preflight.rehearse`.
    """
    if request.config is None:
        workspace = load_workspace(request.workspace)
    else:
        workspace = Workspace(request.workspace, request.config)
    reporter = TellingReporter() if rank.rank == 0 else Reporter()
    options = request.options
    # Imported late, so that a bad request fails at once and in words.
    if request.task == "train":
        # Signals come to the launcher, which passes them on: the run saves and ends.
        tell("pid", os.getpid())
        from sfe_core.runs.start import train

        return train(workspace, options, reporter)
    from sfe_core.runs.preflight import rehearse, try_sizes
    from sfe_core.runs.start import plan_training

    rehearsed = rehearse if request.task == "rehearse" else try_sizes
    plan = plan_training(workspace, dataclasses.replace(options, resume=None))
    return rehearsed(workspace, options, plan, reporter)


if __name__ == "__main__":
    # Without its launcher this process saves and ends, as on any other signal to do so.
    run_as_worker(work, Request, partial(os.kill, os.getpid(), signal.SIGTERM))
