"""What a worker process tells the one that started it: marked lines on its standard output.

A line is `EVENT_MARK` and a JSON list of the event's name and arguments; everything else that
libraries print is noise and passed over.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sfe_core.errors import SfeError
from sfe_core.reporting import Reporter, Task

EVENT_MARK = "@sfe "


def tell(event: str, *arguments: Any) -> None:
    """Write an event for the launcher."""
    try:
        sys.stdout.write(f"{EVENT_MARK}{json.dumps([event, *arguments])}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # The launcher was killed and nobody listens; what is under way may still be saved.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # until the process ends


def tell_error(error: SfeError) -> None:
    """Write an error for the launcher, which raises it there."""
    tell("error", error.exit_code, error.where, error.problem, error.remedy)


class ToldTask:
    """Passes progress on to whatever task the launcher has open."""

    def advance(self, count: int = 1, note: str = "") -> None:
        """See `Task.advance`."""
        tell("advance", count, note)


class TellingReporter(Reporter):
    """Passes everything on as events; one task is open at a time."""

    @contextmanager
    def task(self, title: str, total: int | None = None, done: int = 0) -> Iterator[Task]:
        """See `Reporter.task`."""
        tell("open", title, total, done)
        yield ToldTask()
        tell("close")

    def say(self, message: str) -> None:
        """See `Reporter.say`."""
        tell("say", message)

    def warn(self, message: str) -> None:
        """See `Reporter.warn`."""
        tell("warn", message)

    def show(self, figures: Mapping[str, str]) -> None:
        """See `Reporter.show`."""
        tell("show", dict(figures))


def end_with_launcher(end: Callable[[], None] | None = None) -> None:
    """End this process as soon as its launcher is gone, even if that was killed.

    `launching.follow` holds the other end of the workers' standard input for as long as it lives.

    Args:
        end: called in a thread of its own when the launcher is gone; None: exit at once.
    """

    def wait() -> None:
        while os.read(0, 1):
            pass
        if end is None:
            os._exit(1)
        end()

    threading.Thread(target=wait, daemon=True).start()
