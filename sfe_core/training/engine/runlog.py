"""What a run writes down as it goes: metrics.jsonl, and curves for trackers."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from sfe_core.files import write_text
from sfe_core.training.engine.trackers import Trackers
from sfe_core.wording import bytes_told

METRICS = "metrics.jsonl"


class RunLog:
    """Appends a line per logged update; the main process alone owns one.

    On resuming, lines after the checkpoint are taken out before the first new one, so that the file
    reads as if the run had never stopped.

    Args:
        run: the run's folder.
        resumed_at: updates done in the checkpoint gone on from; 0 for a new run.
        trackers: names of `train.trackers`.
        config: the run's configuration, as JSON-able values; trackers keep it.
    """

    def __init__(
        self,
        run: Path,
        resumed_at: int = 0,
        trackers: Sequence[str] = (),
        config: dict[str, Any] | None = None,
    ) -> None:
        self.path = run / METRICS
        self._resumed_at: int | None = resumed_at
        self._trackers = Trackers(trackers, run, config or {}, resumed_at)

    def write(self, line: dict[str, Any]) -> None:
        """Append a line: "step" and numbers, possibly in groups (dicts) of numbers."""
        self._take_out_later()
        with open(self.path, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
        points: dict[str, float] = {}
        for name, value in line.items():
            if isinstance(value, dict):
                points |= {f"{name}/{inner}": number for inner, number in value.items()}
            elif name != "step":
                points[name] = value
        self._trackers.numbers(points, line["step"])

    def _take_out_later(self) -> None:
        if self._resumed_at is not None and self.path.exists():
            kept = [x for x in read_metrics(self.path.parent) if x["step"] <= self._resumed_at]
            write_text(self.path, "".join(json.dumps(line) + "\n" for line in kept))
        self._resumed_at = None

    def picture(self, name: str, image: Any, step: int) -> None:
        """Add an image, uint8 [H, W, 3]."""
        self._trackers.picture(name, image, step)

    def close(self) -> None:
        """Finish writing."""
        self._trackers.close()


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """Every whole line of a run's metrics.jsonl (a last one cut short by a crash is left out)."""
    path = Path(run) / METRICS
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    parsed = []
    for line in lines:
        try:
            parsed.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return parsed


def peak_memory_bytes(device: torch.device) -> int:
    """Most memory held so far: allocated on a GPU, or resident of this process on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB


class Pace:
    """Images per second of the updates alone, without samples and checkpoints.

    Args:
        images: per update.
    """

    def __init__(self, images: int) -> None:
        self._images = images
        self._whole = [0, 0.0]  # updates, seconds
        self._line = [0, 0.0]

    def __enter__(self) -> Pace:
        self._begin = time.perf_counter()
        return self

    def __exit__(self, *error: object) -> None:
        seconds = time.perf_counter() - self._begin
        for count in (self._whole, self._line):
            count[0] += 1
            count[1] += seconds

    @property
    def overall(self) -> float:
        """Since the start."""
        return self._rate(self._whole)

    @property
    def lately(self) -> float:
        """Since `next_line`."""
        return self._rate(self._line)

    def next_line(self) -> None:
        """Begin to count for the next line of metrics.jsonl."""
        self._line = [0, 0.0]

    def _rate(self, count: list) -> float:
        return count[0] * self._images / count[1] if count[1] else 0.0


class Window:
    """Means over the updates since the last line of metrics.jsonl.

    A term that an update did not have (nothing was decoded) leaves that update out of its mean.
    """

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        state = state or {}
        self._sums: dict[str, float] = dict(state.get("sums", {}))
        self._counts: dict[str, int] = dict(state.get("counts", {}))

    def add(self, values: dict[str, float]) -> None:
        """Take in one update's numbers."""
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
            self._counts[name] = self._counts.get(name, 0) + 1

    def means(self) -> dict[str, float]:
        """Mean of each number."""
        return {name: total / self._counts[name] for name, total in self._sums.items()}

    def state(self) -> dict[str, Any]:
        """What `__init__` takes to go on with."""
        return {"sums": self._sums, "counts": self._counts}


def live_figures(
    numbers: dict[str, float], images_per_s: float, memory_bytes: int, skipped: int
) -> dict[str, str]:
    """The figures of an update, in the order to show them.

    Args:
        numbers: what `update` returned; weighted terms are shown, as they add up to the loss.
        images_per_s: since the last line of metrics.jsonl.
        memory_bytes: the most held so far.
        skipped: updates skipped so far; shown if there are any.
    """
    figures = {}
    if numbers:
        figures["loss"] = f"{numbers['total']:.4f}"
        for name, value in numbers.items():
            kind, _, term = name.partition("/")
            if kind == "weighted":
                figures[term] = f"{value:.4f}"
        figures["gradient"] = f"{numbers['gradient_norm']:.3g}"
        rates = {name[3:]: rate for name, rate in numbers.items() if name.startswith("lr/")}
        figures["learning rate"] = " / ".join(
            f"{rate:.3g}" for rate in dict.fromkeys(rates.values())
        )
    figures["images/s"] = f"{images_per_s:.1f}" if images_per_s < 100 else f"{images_per_s:.0f}"
    figures["memory"] = bytes_told(memory_bytes)
    if skipped:
        figures["skipped"] = str(skipped)
    return figures
