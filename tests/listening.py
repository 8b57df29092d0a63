"""A reporter that remembers."""

from __future__ import annotations

from contextlib import contextmanager

from sfe_core.reporting import Reporter


class Listener(Reporter):
    """Keeps how far each task came and what was said or warned of; subclass it to act on that."""

    def __init__(self) -> None:
        self.done: dict[str, int] = {}
        self.totals: dict[str, int | None] = {}
        self.lines: list[str] = []  # said or warned of
        self.warnings: list[str] = []  # warned of

    @contextmanager
    def task(self, title, total=None, done=0):
        self.done[title], self.totals[title] = done, total

        class Bar:
            def advance(bar, count=1, note=""):
                self.done[title] += count
                self.advanced(title)

        yield Bar()

    def advanced(self, title: str) -> None:
        """Called after each step of a task, for those who act on it."""

    def say(self, message):
        self.lines.append(message)

    def warn(self, message):
        self.lines.append(message)
        self.warnings.append(message)
