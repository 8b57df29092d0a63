"""Signals that ask a run to end: it finishes its update and saves, instead of dying."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator

from sfe_core.errors import Stopped

# SIGTERM: clusters and `kill`; SIGINT: Ctrl-C; SIGUSR1: Slurm's --signal, some time before the end.
STOPPING_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGUSR1") if hasattr(signal, name)
)


class Interruption:
    """Keeps in mind that one of `STOPPING_SIGNALS` came, for the length of a `with` block.

    Before `wait_for_update` there is nothing to save, and a signal raises `Stopped` at once. A
    second Ctrl-C interrupts at once, as everywhere. Python runs handlers in the main thread alone,
    so that elsewhere nothing is installed and nothing noticed.

    Attributes:
        name: of the signal that came, e.g. "SIGTERM"; empty before.
    """

    def __init__(self) -> None:
        self.name = ""
        self._patient = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for number in STOPPING_SIGNALS:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self._before.clear()

    def __bool__(self) -> bool:
        return bool(self.name)

    def wait_for_update(self) -> None:
        """From now on a signal is only noted, for an update to be finished and saved first.

        Raises:
            Stopped: a signal came already.
        """
        self._patient = True
        if self.name:
            self._stop()

    def agreed(self, accelerator: Accelerator) -> bool:
        """Whether the signal came to any process; all must ask at the same point."""
        if accelerator.num_processes == 1:
            return bool(self)
        mine = torch.tensor(float(bool(self)), device=accelerator.device)
        if accelerator.reduce(mine, reduction="sum").item() == 0:
            return False
        self.name = self.name or "a signal to another process"
        return True

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.name and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.name = signal.Signals(number).name
        if not self._patient:
            self._stop()

    def _stop(self) -> None:
        raise Stopped(
            self.name, "came before the first update, nothing was lost", "start it again to go on"
        )
