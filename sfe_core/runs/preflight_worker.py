"""One process of a preflight: `python -m sfe_core.runs.preflight_worker WORKSPACE REQUEST`.

REQUEST is JSON: `{"task": "rehearse" or "try_sizes", "options": {…}, "config": {…}}`. It tells of
itself in events, as a training worker does.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from sfe_core.config.model import Config
from sfe_core.config.workspace import Workspace
from sfe_core.errors import SfeError
from sfe_core.processes.worker_events import TellingReporter, end_with_launcher, tell, tell_error
from sfe_core.reporting import Reporter
from sfe_core.training.engine.options import TrainOptions


def main(arguments: Sequence[str]) -> int:
    """Do the task; returns the exit code."""
    request = json.loads(arguments[1])
    options = TrainOptions(**request["options"])
    workspace = Workspace(Path(arguments[0]), Config.model_validate(request["config"]))
    first = int(os.environ.get("RANK", "0")) == 0
    reporter = TellingReporter() if first else Reporter()
    try:
        from sfe_core.runs.preflight import rehearse, try_sizes
        from sfe_core.training.engine.plan import plan_training

        plan = plan_training(workspace, dataclasses.replace(options, resume=None))
        if request["task"] == "rehearse":
            result = dataclasses.asdict(rehearse(workspace, options, plan, reporter))
        else:
            tried = try_sizes(workspace, options, plan, reporter)
            result = {"tried": [dataclasses.asdict(one) for one in tried]}
    except SfeError as error:
        tell_error(error)
        return error.exit_code
    if first:
        tell("done", result)
    return 0


if __name__ == "__main__":
    end_with_launcher()
    sys.exit(main(sys.argv[1:]))
