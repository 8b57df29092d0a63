"""The signals that ask work to end, and passing them on to the processes that do it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

# SIGTERM: clusters and `kill`; SIGINT: Ctrl-C; SIGUSR1: Slurm's --signal, some time before the end.
STOPPING_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGUSR1") if hasattr(signal, name)
)


class SignalHandlers:
    """Installs one handler for all `STOPPING_SIGNALS`, and puts back what was there on leaving.

    Python runs handlers in the main thread alone; elsewhere nothing is installed.

    Args:
        handle: takes the signal's number and the frame it came in.
    """

    def __init__(self, handle: Callable[[int, FrameType | None], None]) -> None:
        self._handle = handle
        self._before: dict[int, Any] = {}

    def __enter__(self) -> SignalHandlers:
        if threading.current_thread() is threading.main_thread():
            for number in STOPPING_SIGNALS:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self._before.clear()


class Forwarding:
    """Passes `STOPPING_SIGNALS` on to worker processes, which then save and end by themselves.

    Nothing is installed until a worker is known; a second Ctrl-C is not passed on, but interrupts.
    """

    def __init__(self) -> None:
        self._workers: list[int] = []
        self._handlers = SignalHandlers(self._pass_on)
        self._came = False

    def add(self, pid: int) -> None:
        """Pass signals on to this process, too."""
        if not self._workers:
            self._handlers.__enter__()
        self._workers.append(pid)

    def __enter__(self) -> Forwarding:
        return self

    def __exit__(self, *error: object) -> None:
        self._handlers.__exit__(*error)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self._came and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._came = True
        for pid in self._workers:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
