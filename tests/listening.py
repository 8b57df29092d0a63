"""A reporter that remembers."""

from __future__ import annotations

from contextlib import contextmanager

from sfe_core.reporting import Reporter


class Listener(Reporter):
    """Keeps the titles of tasks, how far they came, and what was said or warned of."""

    def __init__(self) -> None:
        self.done: dict[str, int] = {}
        self.lines: list[str] = []
        self.warnings: list[str] = []

    @contextmanager
    def task(self, title, total=None, done=0):
        self.done[title] = done

        class Bar:
            def advance(bar, count=1, note=""):
                self.done[title] += count

        yield Bar()

    def say(self, message):
        self.lines.append(message)

    def warn(self, message):
        self.warnings.append(message)
