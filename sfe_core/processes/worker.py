"""What every worker process is: a request comes in, events go out, a result or an error ends it.

The module of a worker ends with `run_as_worker(work, Request)`; `launching.run_workers` starts
several of it with one request. A request is a dataclass, handed over as JSON in a file, or typed as
JSON where a launcher is called by hand. An event is a marked line on the standard output:
`EVENT_MARK` and a JSON list of its name and arguments; everything else that libraries print is
noise and passed over.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter

from sfe_core.errors import SfeError
from sfe_core.reporting import Reporter, Task

if TYPE_CHECKING:
    import torch

EVENT_MARK = "@sfe "
Request = TypeVar("Request")


@dataclass(frozen=True)
class Rank:
    """Which of the workers a process is, in torch's terms.

    Attributes:
        rank: its number, from 0.
        world_size: how many there are, over all machines.
        local_rank: its number among those of its machine.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Rank:
        """As a launcher has told this process; alone where none has."""
        rank = int(environment.get("RANK", "0"))
        world_size = int(environment.get("WORLD_SIZE", "1"))
        return cls(rank, world_size, int(environment.get("LOCAL_RANK", rank)))

    def take_device(self) -> torch.device:
        """This process's own device; of several GPUs it becomes the one that `cuda` means."""
        import torch

        if os.environ.get("ACCELERATE_USE_CPU") == "true":
            return torch.device("cpu")
        device = torch.device("cuda", self.local_rank)
        torch.cuda.set_device(device)
        return device


Work = Callable[[Request, Rank], Any]


def run_as_worker(
    work: Work[Request], request: type[Request], end: Callable[[], None] | None = None
) -> None:
    """Do the work of this process, and end it with its exit code.

    Args:
        work: does this process's part of a request; its result is a dataclass or None.
        request: the dataclass that the work takes.
        end: see `end_with_launcher`.
    """
    end_with_launcher(end)
    sys.exit(answer(work, request, sys.argv[1:]))


def answer(work: Work[Request], request: type[Request], arguments: Sequence[str]) -> int:
    """Do the work that the one argument asks for, a request's file or JSON; the exit code.

    All processes tell of their errors, the first one of each machine of its result.
    """
    text = arguments[0]
    if not text.lstrip().startswith("{"):
        text = Path(text).read_text(encoding="utf-8")
    asked = TypeAdapter(request).validate_python(json.loads(text))
    rank = Rank.of(os.environ)
    try:
        result = work(asked, rank)
    except SfeError as error:
        tell("error", error.exit_code, error.where, error.problem, error.remedy)
        return error.exit_code
    if rank.local_rank == 0:
        tell("done", as_json(result))
    return 0


def as_json(value: Any) -> Any:
    """A dataclass as JSON-able values; `pydantic.TypeAdapter` of its type reads it again."""
    return TypeAdapter(type(value)).dump_python(value, mode="json")


def tell(event: str, *arguments: Any) -> None:
    """Write an event for the launcher."""
    try:
        sys.stdout.write(f"{EVENT_MARK}{json.dumps([event, *arguments])}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # The launcher was killed and nobody listens; what is under way may still be saved.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # until the process ends


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
