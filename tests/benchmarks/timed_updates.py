"""Seconds of each of some updates, as JSON: `python timed_updates.py WORKSPACE COUNT`."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import psutil
import torch

from sfe_core.config.loading import load_workspace
from sfe_core.processes.threads import ThreadWatch
from sfe_core.reporting import Reporter
from sfe_core.training.engine.update import update, wanted_batches
from tests.benchmarks.test_train import open_session


def busy_s() -> float:
    """Seconds that the cores of this machine have worked, together."""
    times = psutil.cpu_times()
    return times.user + times.nice + times.system


def main(folder: Path, count: int) -> None:
    """Warm up until a watched process has settled, then time."""
    with tempfile.TemporaryDirectory() as aside:
        session = open_session(load_workspace(folder), Path(aside))
        batches = session.recipe.batches(wanted_batches(session))
        seconds, others = [], []
        with ThreadWatch("cpu", Reporter()) as threads:
            for number in range(4 + count):
                wall, own, all_of = time.perf_counter(), time.process_time(), busy_s()
                with threads.piece():
                    update(session, batches)
                wall, own = time.perf_counter() - wall, time.process_time() - own
                if number >= 4:
                    seconds.append(wall)
                    others.append((busy_s() - all_of - own) / wall)
            used = torch.get_num_threads()
    print(json.dumps({"seconds": seconds, "others": others, "threads": used}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
