"""Progress on stderr: a bar with rate and time left, or plain lines where there is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Task as RichTask
from rich.table import Table
from rich.text import Text

from sfe_core.reporting import Reporter, Task

SECONDS_BETWEEN_LINES = 10.0


class RichReporter(Reporter):
    """Draws what the core reports. Results go to stdout, this to stderr."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self._progress: Progress | None = None
        self._open = 0
        self._figures: dict[str, str] = {}

    @contextmanager
    def task(self, title: str, total: int | None = None, done: int = 0) -> Iterator[Task]:
        """A bar on a terminal; elsewhere a line every ten seconds and one at the end."""
        if not self.console.is_terminal:
            plain = _PlainTask(self.console, title, total, done, lambda: self._figures)
            self._open += 1
            try:
                yield plain
                plain.finish()
            finally:
                self._close()
            return
        progress = self._start()
        bar = _Bar(progress, title, total, done)
        try:
            yield bar
            bar.finish()
        finally:
            self._close()

    def say(self, message: str) -> None:
        """A line above the bars."""
        self.console.print(message, markup=False, highlight=False, soft_wrap=True)

    def warn(self, message: str) -> None:
        """A line above the bars that begins with `warning:`."""
        text = Text("warning: ", style="yellow").append(message, style="default")
        self.console.print(text, soft_wrap=True)

    def show(self, figures: Mapping[str, str]) -> None:
        """A table below the bars; without a terminal, a part of the next line."""
        self._figures = dict(figures)
        if isinstance(self._progress, _ProgressAndFigures):
            self._progress.figures = self._figures

    def _start(self) -> Progress:
        if self._progress is None:
            self._progress = _ProgressAndFigures(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                _Done(),
                _Rate(),
                TimeRemainingColumn(compact=True, elapsed_when_finished=True),
                TextColumn("{task.fields[note]}", markup=False, style="dim"),
                console=self.console,
            )
            self._progress.start()
        self._open += 1
        return self._progress

    def _close(self) -> None:
        """Figures go with the last task that is open."""
        self._open -= 1
        if self._open:
            return
        if self._progress is not None:
            self._progress.stop()
        self._progress, self._figures = None, {}


class _ProgressAndFigures(Progress):
    """Bars, and below them a table of figures: names above values."""

    figures: Mapping[str, str] = {}

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        if self.figures:
            table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
            for name in self.figures:
                table.add_column(name, justify="right", no_wrap=True)
            table.add_row(*self.figures.values())
            yield table


class _Bar:
    def __init__(self, progress: Progress, title: str, total: int | None, done: int) -> None:
        self._progress = progress
        self._id = progress.add_task(title, total=total, completed=done, note="")

    def advance(self, count: int = 1, note: str = "") -> None:
        self._progress.advance(self._id, count)
        if note:
            self._progress.update(self._id, note=note)

    def finish(self) -> None:
        task = self._progress.tasks[self._id]
        if task.total is None:
            self._progress.update(self._id, total=max(task.completed, 1), completed=task.completed)


class _Done(ProgressColumn):
    def render(self, task: RichTask) -> Text:
        total = f"/{quantity(task.total)}" if task.total else ""
        return Text(f"{quantity(task.completed)}{total}")


class _Rate(ProgressColumn):
    def render(self, task: RichTask) -> Text:
        speed = task.finished_speed or task.speed
        return Text(rate(speed) if speed else "", style="dim")


class _PlainTask:
    """Lines for logs: never more often than every ten seconds."""

    def __init__(
        self,
        console: Console,
        title: str,
        total: int | None,
        done: int,
        figures: Callable[[], Mapping[str, str]],
    ) -> None:
        self._console, self._title, self._total = console, title, total
        self._figures = figures
        self._before, self._done, self._note = done, done, ""
        self._begin = self._last = time.monotonic()

    def advance(self, count: int = 1, note: str = "") -> None:
        self._done += count
        self._note = note or self._note
        if time.monotonic() - self._last >= SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            self._print(self._left())

    def finish(self) -> None:
        self._print(f"in {duration(time.monotonic() - self._begin)}")

    def _left(self) -> str:
        if not self._total or self._done == self._before:
            return ""
        return f"{duration((self._total - self._done) / self._rate())} left"

    def _rate(self) -> float:
        seconds = max(time.monotonic() - self._begin, 1e-6)
        return (self._done - self._before) / seconds

    def _print(self, ending: str) -> None:
        total = f"/{quantity(self._total)}" if self._total else ""
        parts = [f"{self._title}: {quantity(self._done)}{total}"]
        parts += [rate(self._rate())] if self._done > self._before else []
        figures = ", ".join(f"{name} {value}" for name, value in self._figures().items())
        parts += [part for part in (ending, figures or self._note) if part]
        self._console.print(", ".join(parts), markup=False, highlight=False, soft_wrap=True)
        sys.stderr.flush()


def quantity(value: float) -> str:
    """A count in at most five characters: 312, 48.1k, 553M."""
    for limit, divisor, unit in ((1e4, 1, ""), (1e6, 1e3, "k"), (1e9, 1e6, "M")):
        if abs(value) < limit:
            scaled = value / divisor
            return f"{scaled:.0f}{unit}" if divisor == 1 or scaled >= 100 else f"{scaled:.1f}{unit}"
    return f"{value / 1e9:.2f}G"


def rate(per_second: float) -> str:
    """`12.3/s`, or `4.5 s each` where one takes longer than a second."""
    if per_second >= 100:
        return f"{quantity(per_second)}/s"
    return f"{per_second:.1f}/s" if per_second >= 1 else f"{1 / per_second:.1f} s each"


def duration(seconds: float) -> str:
    """`0:07`, `12:40`, `3:02:10`."""
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
