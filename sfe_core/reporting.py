"""How long work tells of itself without printing: the core calls a `Reporter`, the CLI draws it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class Task(Protocol):
    """One piece of countable work under way."""

    def advance(self, count: int = 1, note: str = "") -> None:
        """`count` more units are done; `note` is a short figure to show beside the bar."""


class _SilentTask:
    def advance(self, count: int = 1, note: str = "") -> None:
        del count, note


class Reporter:
    """The silent reporter, and the interface every other one follows."""

    @contextmanager
    def task(self, title: str, total: int | None = None, done: int = 0) -> Iterator[Task]:
        """Open a bar for the length of the `with` block.

        Args:
            title: of the bar.
            total: units; None is unknown.
            done: units done before, in an earlier call; they say nothing of the rate.
        """
        del title, total, done
        yield _SilentTask()

    def track(self, items: Iterable[Item], title: str, total: int | None = None) -> Iterator[Item]:
        """Yield `items` one by one, advancing a bar by one each."""
        if total is None and hasattr(items, "__len__"):
            total = len(items)  # type: ignore[arg-type]
        with self.task(title, total) as task:
            for item in items:
                yield item
                task.advance()

    def say(self, message: str) -> None:
        """A line worth keeping on the screen."""
        del message

    def warn(self, message: str) -> None:
        """Something is off, and the work goes on."""
        del message

    def show(self, figures: Mapping[str, str]) -> None:
        """The latest figures of the work under way, by name; they take the earlier ones' place."""
        del figures
