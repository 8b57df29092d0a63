"""One training process: `python -m sfe_core.runs.worker WORKSPACE OPTIONS`.

Started N-fold by `launch`, through accelerate or torchrun. OPTIONS is JSON:
`{"options": {fields of TrainOptions}, "config": {a whole configuration}}`, both may be left out.

It tells of itself in events (`worker_events`). Only the first process tells of progress, and the
first one of each machine what the run did; all tell of their errors.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sfe_core.config.loading import load_workspace
from sfe_core.config.model import Config
from sfe_core.config.workspace import Workspace
from sfe_core.errors import SfeError
from sfe_core.processes.worker_events import TellingReporter, end_with_launcher, tell, tell_error
from sfe_core.reporting import Reporter
from sfe_core.training.engine.options import TrainOptions, TrainSummary


def main(arguments: Sequence[str]) -> int:
    """Train; returns the exit code."""
    root, text = Path(arguments[0]), arguments[1]
    request = json.loads(text)
    options = TrainOptions(**request.get("options", {}))
    if "config" in request:
        workspace = Workspace(root, Config.model_validate(request["config"]))
    else:
        workspace = load_workspace(root)
    first = int(os.environ.get("RANK", "0")) == 0
    # Signals come to the launcher, which passes them on.
    tell("pid", os.getpid())
    try:
        # Imported late, so that a bad request fails at once and in words.
        from sfe_core.training.engine.loop import train

        summary = train(workspace, options, TellingReporter() if first else Reporter())
    except SfeError as error:
        tell_error(error)
        return error.exit_code
    if int(os.environ.get("LOCAL_RANK", "0")) == 0:
        tell("done", summary_to_json(summary))
    return 0


def summary_to_json(summary: TrainSummary) -> dict[str, Any]:
    """A summary as JSON-able values; paths become text."""
    plain = dataclasses.asdict(summary)
    return {name: str(value) if isinstance(value, Path) else value for name, value in plain.items()}


def summary_from_json(plain: dict[str, Any]) -> TrainSummary:
    """The reverse of `summary_to_json`."""
    paths = {
        name: None if plain[name] is None else Path(plain[name])
        for name in ("run", "checkpoint", "samples", "best")
    }
    return TrainSummary(**{**plain, **paths})


if __name__ == "__main__":
    # Without its launcher this process saves and ends, as on any other signal to do so.
    end_with_launcher(partial(os.kill, os.getpid(), signal.SIGTERM))
    sys.exit(main(sys.argv[1:]))
