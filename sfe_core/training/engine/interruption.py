"""Signals that ask a run to end: it finishes its update and saves, instead of dying."""

from __future__ import annotations

import signal
from types import FrameType

import torch
from accelerate import Accelerator

from sfe_core.errors import Stopped
from sfe_core.processes.stopping_signals import SignalHandlers


class Interruption:
    """Keeps in mind that one of `STOPPING_SIGNALS` came, for the length of a `with` block.

    Before `wait_for_update` there is nothing to save, and a signal raises `Stopped` at once. A
    second Ctrl-C interrupts at once, as everywhere. Outside the main thread nothing is noticed.

    Attributes:
        name: of the signal that came, e.g. "SIGTERM"; empty before.
    """

    def __init__(self) -> None:
        self.name = ""
        self._patient = False
        self._handlers = SignalHandlers(self._note)

    def __enter__(self) -> Interruption:
        self._handlers.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._handlers.__exit__(*error)

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
            self.name,
            "came before the first update, nothing was lost",
            "the same command starts it again",
        )
