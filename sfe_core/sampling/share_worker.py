"""One drawing process: `python -m sfe_core.sampling.share_worker REQUEST`, RANK of WORLD_SIZE.

Started N-fold through accelerate by `launch_shares`, one on each GPU. The processes share nothing
but the list of records: each draws every N-th.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from sfe_core.config.model import Config
from sfe_core.config.workspace import Workspace
from sfe_core.errors import SfeError
from sfe_core.processes.launching import follow, launcher_argv, launcher_env
from sfe_core.processes.placement import Placement
from sfe_core.processes.worker_events import (
    TellingReporter,
    ToldTask,
    end_with_launcher,
    tell_error,
)
from sfe_core.reporting import Reporter, Task
from sfe_core.sampling.settings import DrawSettings
from sfe_core.sampling.share import Record, Share, draw_share

MODULE = "sfe_core.sampling.share_worker"


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
    request = {
        "root": str(workspace.root),
        "config": workspace.config.model_dump(mode="json"),
        "share": asdict(replace(share, source=str(share.source), folder=str(share.folder))),
        "records": list(records),
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "request.json"
        file.write_text(json.dumps(request), encoding="utf-8")
        argv = launcher_argv(MODULE, placement.device, placement.processes, [str(file)])
        environment = launcher_env(placement.device, placement.processes, os.environ)
        follow(argv, environment, reporter, "drawing worker", task)


def main(arguments: Sequence[str]) -> int:
    """Draw one share; returns the exit code."""
    request = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    try:
        _draw(request, rank, count)
    except SfeError as error:
        tell_error(error)
        return error.exit_code
    return 0


def _draw(request: dict[str, Any], rank: int, count: int) -> None:
    import torch

    from sfe_core.corpus.reader import Corpus

    workspace = Workspace(Path(request["root"]), Config.model_validate(request["config"]))
    told = request["share"]
    share = Share(
        source=Path(told["source"]),
        settings=DrawSettings(**told["settings"]),
        folder=Path(told["folder"]),
        batch_size=told["batch_size"],
    )
    device = torch.device("cpu")
    if os.environ.get("ACCELERATE_USE_CPU") != "true":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", rank)))
        torch.cuda.set_device(device)
    records = request["records"][rank::count]
    if records:
        draw_share(share, records, Corpus.open(workspace), device, TellingReporter(), ToldTask())


if __name__ == "__main__":
    end_with_launcher()
    sys.exit(main(sys.argv[1:]))
