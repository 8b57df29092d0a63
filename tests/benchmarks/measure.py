"""Timing two ways of doing the same work, side by side in one run on one machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

ROUNDS = 3


@dataclass(frozen=True)
class Comparison:
    """Best times of the two ways over some rounds.

    Attributes:
        title: what is done.
        unit: what is counted, e.g. "photos".
        count: how many of them each way handled in one round.
        ours_s, bare_s: seconds of the best round; the best one is the least disturbed one.
    """

    title: str
    unit: str
    count: int
    ours_s: float
    bare_s: float

    @property
    def overhead(self) -> float:
        """Our time over the bare loop's, for the same work."""
        return self.ours_s / self.bare_s

    def line(self) -> str:
        """One line for people."""
        if self.unit == "start":
            rates = f"{self.ours_s:8.3f} s       bare {self.bare_s:8.3f} s      "
        else:
            ours, bare = self.count / self.ours_s, self.count / self.bare_s
            rates = f"{ours:8.2f} {self.unit}/s bare {bare:8.2f} {self.unit}/s"
        return f"{self.title:<34} {rates}  overhead x {self.overhead:.2f}"


def compare(
    title: str,
    unit: str,
    ours: Callable[[], int],
    bare: Callable[[], int],
    rounds: int = ROUNDS,
) -> Comparison:
    """Time both ways in turn, `rounds` times, print the line and return it.

    Each callable does the work once and returns how much of it there was; both must agree, or the
    ratio would compare different things.
    """
    best = {"ours": float("inf"), "bare": float("inf")}
    counts = set()
    for _ in range(rounds):
        for name, work in (("ours", ours), ("bare", bare)):
            started = time.perf_counter()
            counts.add(work())
            best[name] = min(best[name], time.perf_counter() - started)
    if len(counts) != 1:
        raise ValueError(f"{title}: the two ways handled {sorted(counts)} {unit}")
    found = Comparison(title, unit, counts.pop(), best["ours"], best["bare"])
    print(f"\n{found.line()}", flush=True)
    return found
