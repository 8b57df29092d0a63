"""An update while other work shares the machine: ways of waiting and sharing, as ratios to idle.

Each way trains in a process of its own, for what OpenMP reads it reads once. Beside the seconds
stands how many cores others kept busy meanwhile: on a machine that is not quiet, "no neighbours"
has some, and the ratio is to that.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from sfe_core.config.workspace import Workspace
from sfe_core.processes.threads import wait_briefly
from sfe_core.training.engine.runlog import read_metrics
from tests.benchmarks.results import record

pytestmark = pytest.mark.benchmark
UPDATES = 3
NEIGHBOURS = (0, 1, 2)
CORES = str(len(os.sched_getaffinity(0)))
TIMED = Path(__file__).with_name("timed_updates.py")
SHORT_SPIN: dict[str, str] = {}
wait_briefly(SHORT_SPIN)
# What a process is given; nothing else in them is of OpenMP.
WAYS = {
    "all threads, as OpenMP waits": {"OMP_NUM_THREADS": CORES},
    "all threads, passive": {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": CORES},
    "all threads, short spin": {**SHORT_SPIN, "OMP_NUM_THREADS": CORES},
    "short spin and watched": SHORT_SPIN,  # what `sfe train` does
    "one thread": {"OMP_NUM_THREADS": "1"},
}


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """So many busy processes beside us, of our own niceness."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def timed(work: Path, variables: dict[str, str]) -> dict[str, float]:
    """Median seconds of an update in a process with `variables`, and cores that others used."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_", "KMP_"))}
    environment = {"PYTHONPATH": os.pathsep.join(sys.path), **plain, **variables}
    command = [sys.executable, str(TIMED), str(work), str(UPDATES)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return {
        "median_s": statistics.median(found["seconds"]),
        "fastest_s": min(found["seconds"]),
        "others_cores": statistics.median(found["others"]),
        "threads": found["threads"],
    }


def two_processes(work: Path, batch: int) -> dict[str, float]:
    """The same of one thread in each of two processes, by the run's own log."""
    argv = [sys.executable, "-m", "sfe_cli.main", "train", "-w", str(work), "--run", "two"]
    argv += ["--cpu-processes", "2", "--steps", str(UPDATES + 1), "--set", "train.log_every=1"]
    shutil.rmtree(work / "runs", ignore_errors=True)
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_", "KMP_"))}
    subprocess.run(argv, env=plain | {"OMP_NUM_THREADS": "1"}, capture_output=True, check=True)
    rates = [line["images_per_s"] for line in read_metrics(work / "runs" / "two")][1:]
    seconds = [batch / rate for rate in rates]
    return {"median_s": statistics.median(seconds), "fastest_s": min(seconds), "threads": 1}


def test_update_beside_busy_neighbours(corpus: Workspace, tmp_path: Path):
    shutil.copytree(corpus.corpus, tmp_path / "corpus")
    settings = corpus.config.model_dump(mode="json", exclude={"preset"})
    settings["train"]["steps"] = 50  # an update takes its images from what is left of them
    (tmp_path / "sfe.yaml").write_text(json.dumps(settings), encoding="utf-8")  # YAML holds JSON
    batch = corpus.config.train.effective_batch
    ways = {
        name: (lambda chosen=chosen: timed(tmp_path, chosen)) for name, chosen in WAYS.items()
    } | {"two processes of one thread": lambda: two_processes(tmp_path, batch)}
    found: dict[str, dict[str, dict[str, float]]] = {name: {} for name in ways}
    for count in NEIGHBOURS:
        with neighbours(count):
            for name, measure in ways.items():
                found[name][str(count)] = measure()
    print()
    for name, by_count in found.items():
        alone = by_count["0"]["median_s"]
        told = "   ".join(
            f"{count}: {one['median_s']:6.2f} s x{one['median_s'] / alone:5.2f}"
            f" (others {one.get('others_cores', float('nan')):.1f})"
            for count, one in by_count.items()
        )
        print(f"{name:<30} {told}", flush=True)
    print(f"load {os.getloadavg()[0]:.1f}, {CORES} cores, torch {torch.__version__}")
    record("neighbours", {"ways": found}, corpus.config.model.resolution, batch)
