"""Processes that inherit nothing of what the tests did, but start as fast as a fork.

A plain fork of the test's process would take along its memory without the threads that were at
work in it, which torch does not survive reliably. These are forked from a server which has
imported everything and computed nothing.
"""

from __future__ import annotations

import faulthandler
import os
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from typing import Any

import torch
from accelerate.utils.other import get_free_port
from torch.multiprocessing import start_processes

METHOD = "forkserver"
TIME_LIMIT_S = 120.0

get_context(METHOD).set_forkserver_preload(["sfe_core.training.engine.loop", "tests.tiny"])


def start_clean(work: Callable[..., Any], *given: Any) -> BaseProcess:
    """A process, just started, that calls `work(*given)` in this one's environment.

    Args:
        work: a function of a module; what is `given` to it can be pickled.
    """
    process = get_context(METHOD).Process(
        target=_in_environment, args=(dict(os.environ), work, *given), daemon=True
    )
    process.start()
    return process


def in_processes(count: int, work: Callable[..., Any], *given: Any) -> list[Any]:
    """What `work(rank, *given)` returns in each of `count` processes, by rank.

    Args:
        count: of processes, on the CPU, meeting over gloo.
        work: a function of a module, whose result can be pickled, as can what is `given`.

    Raises:
        torch.multiprocessing.ProcessRaisedException: `work` raised; with its traceback.
        torch.multiprocessing.ProcessExitedException: A process died; with its signal.
        TimeoutError: Nothing came back within TIME_LIMIT_S.
    """
    answers = get_context(METHOD).SimpleQueue()
    environment = dict(os.environ) | {
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(get_free_port()),
        "ACCELERATE_USE_CPU": "true",
        "OMP_NUM_THREADS": "1",
    }
    children = start_processes(
        _child, (environment, work, given, answers), count, join=False, start_method=METHOD
    )
    deadline = time.monotonic() + TIME_LIMIT_S
    while not children.join(max(0.0, deadline - time.monotonic())):
        if time.monotonic() >= deadline:
            for process in children.processes:
                process.kill()
            raise TimeoutError(f"{count} processes were not done within {TIME_LIMIT_S:.0f} s")
    found = dict(answers.get() for _ in range(count))
    return [found[rank] for rank in range(count)]


def _in_environment(environment: dict[str, str], work: Callable[..., Any], *given: Any) -> Any:
    faulthandler.enable()
    torch.set_num_threads(1)
    os.environ.clear()
    os.environ.update(environment)
    return work(*given)


def _child(
    rank: int, environment: dict[str, str], work: Callable[..., Any], given: tuple, answers: Any
) -> None:
    own = environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    answers.put((rank, _in_environment(own, work, rank, *given)))
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
