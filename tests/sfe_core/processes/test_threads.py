"""How compute threads wait, and when one of them is enough."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from sfe_core.processes.threads import ThreadWatch, wait_briefly
from tests.listening import Listener


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


class Clocks:
    """A wall clock and a processor's, moved by hand."""

    wall = cpu = 0.0

    def work(self, watch: ThreadWatch, *pieces: tuple[float, float]) -> None:
        for wall, cpu in pieces:
            with watch.piece():
                self.wall += wall
                self.cpu += cpu

    def watch(self, listener: Listener, device: str = "cpu", **environment: str) -> ThreadWatch:
        clocks = (lambda: self.wall), (lambda: self.cpu)
        return ThreadWatch(device, listener, environment, *clocks)


BUSY, WAITING = (1.0, 1.6), (7.0, 2.0)


def test_threads_that_mostly_wait_become_one_until_the_end() -> None:
    clocks, listener = Clocks(), Listener()
    with clocks.watch(listener) as watch:
        clocks.work(watch, WAITING, WAITING, BUSY, WAITING, WAITING)
        assert torch.get_num_threads() == 2 and not listener.lines
        clocks.work(watch, WAITING)
        assert torch.get_num_threads() == 1
        assert "OMP_NUM_THREADS=2 keeps them" in listener.lines[0]
        clocks.work(watch, *[WAITING] * 9)
        assert len(listener.lines) == 1
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(("device", "chosen"), [("cpu", {"OMP_NUM_THREADS": "2"}), ("cuda", {})])
def test_chosen_threads_stay_and_a_gpu_is_not_watched(device: str, chosen: dict[str, str]) -> None:
    clocks, listener = Clocks(), Listener()
    with clocks.watch(listener, device, **chosen) as watch:
        clocks.work(watch, *[WAITING] * 9)
        assert torch.get_num_threads() == 2 and not listener.lines


def test_who_says_how_threads_wait_is_heard() -> None:
    environment: dict[str, str] = {}
    wait_briefly(environment)
    assert environment == {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"}
    for chosen in ({"OMP_WAIT_POLICY": "ACTIVE"}, {"GOMP_SPINCOUNT": "9"}, {"KMP_BLOCKTIME": "1"}):
        environment = dict(chosen)
        wait_briefly(environment)
        assert environment == chosen


def test_the_command_line_says_so_before_the_threads_are_there() -> None:
    """OpenMP reads the environment once, when torch loads it."""
    code = (
        "import os, sys; from sfe_cli.main import app; from sfe_cli.environment import prepare; "
        "assert 'torch' not in sys.modules; prepare(False); print(os.environ['GOMP_SPINCOUNT'])"
    )
    kept = {name: value for name, value in os.environ.items() if "OMP_" not in name}
    done = subprocess.run([sys.executable, "-c", code], env=kept, capture_output=True, text=True)
    assert done.stdout == "1000\n", done.stderr
