"""Compute threads of a process on the CPU: how they wait for each other, and when one is enough.

Torch parts each operation among its OpenMP threads and waits for the last of them. Where other work
keeps a core busy, that one has to wait for its turn in each of the thousands of operations of an
update of small networks, and by default the others spin meanwhile, on the very core it waits for.
Threads that sleep at once are no remedy: waking one takes longer than most of those operations. So
they spin for some microseconds, then sleep: tests/benchmarks/test_neighbours.py measures each.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager

from sfe_core.reporting import Reporter

THREADS = "OMP_NUM_THREADS"
# Each says how threads wait: to any OpenMP runtime, GNU's (in torch's wheels), Intel's twice.
_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")
_SPINS = "1000"  # between two of an update's operations; ten times as many gain nothing
_PIECES = 3  # in a row that must say the same; one may have waited for a disk


def wait_briefly(environment: MutableMapping[str, str]) -> None:
    """Have OpenMP's threads spin for microseconds and then sleep while they wait for each other.

    Nothing changes where `environment` says how they wait. The runtime reads it when it is loaded:
    call this before anything imports torch.
    """
    if not any(environment.get(name) for name in _WAITING):
        # The policy is for Intel's runtime, which spins for milliseconds or not at all. GNU's heeds
        # the number first.
        environment.update(OMP_WAIT_POLICY="PASSIVE", GOMP_SPINCOUNT=_SPINS)


class ThreadWatch:
    """Goes on with one thread where several wait for each other more than they calculate.

    Several threads that together get less than one core's time out of a piece of work would have
    been quicker as one: so it is after three such pieces in a row, until the watch ends. Where the
    user has chosen a number of threads (`OMP_NUM_THREADS`), and on a GPU, nothing changes. Sums are
    rounded otherwise in another number of threads: who needs the same bits under any load chooses.

    Args:
        device: "cpu" or "cuda".
        reporter: told when it happens.
        environment: of this process.
        wall, cpu: seconds by the clock, and of all threads of this process.
    """

    def __init__(
        self,
        device: str,
        reporter: Reporter,
        environment: Mapping[str, str] = os.environ,
        wall: Callable[[], float] = time.perf_counter,
        cpu: Callable[[], float] = time.process_time,
    ) -> None:
        self._reporter, self._wall, self._cpu = reporter, wall, cpu
        self._on = device == "cpu" and not environment.get(THREADS)
        self._threads, self._waited = 1, 0

    def __enter__(self) -> ThreadWatch:
        import torch

        self._threads = torch.get_num_threads()
        self._on = self._on and self._threads > 1
        return self

    def __exit__(self, *error: object) -> None:
        import torch

        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)

    @contextmanager
    def piece(self) -> Iterator[None]:
        """A piece of work, at least some tenths of a second long."""
        wall, cpu = self._wall(), self._cpu()
        yield
        if not self._on:
            return
        waited = self._wall() - wall > self._cpu() - cpu
        self._waited = self._waited + 1 if waited else 0
        if self._waited == _PIECES:
            self._go_on_with_one()

    def _go_on_with_one(self) -> None:
        import torch

        self._on = False
        torch.set_num_threads(1)
        self._reporter.say(
            f"other work keeps the cores busy: one compute thread from here on, for "
            f"{self._threads} mostly wait for each other ({THREADS}={self._threads} keeps them)"
        )
