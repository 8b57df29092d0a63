"""Signals are kept in mind, and given back."""

from __future__ import annotations

import signal
import threading

import pytest

from sfe_core.errors import Stopped
from sfe_core.processes.stopping_signals import STOPPING_SIGNALS
from sfe_core.training.engine.interruption import Interruption


@pytest.mark.parametrize("number", STOPPING_SIGNALS)
def test_a_signal_is_noted_and_handlers_are_restored(number):
    before = signal.getsignal(number)
    with Interruption() as interruption:
        interruption.wait_for_update()
        assert not interruption
        signal.raise_signal(number)
        assert interruption and interruption.name == signal.Signals(number).name
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_interrupts_at_once():
    with Interruption() as interruption:
        interruption.wait_for_update()
        signal.raise_signal(signal.SIGTERM)
        assert interruption
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_before_the_first_update_a_signal_ends_at_once():
    with Interruption() as interruption, pytest.raises(Stopped, match="nothing was lost"):
        signal.raise_signal(signal.SIGUSR1)
    # Also where a library has caught and dropped what the handler raised.
    with pytest.raises(Stopped):
        interruption.wait_for_update()


def test_outside_the_main_thread_nothing_is_installed():
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def work():
        with Interruption() as interruption:
            seen.append((bool(interruption), signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, before)]
