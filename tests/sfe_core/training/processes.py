"""Several training processes, forked from the test: started at once, with everything imported."""

from __future__ import annotations

import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable
from typing import Any

TIME_LIMIT_S = 120.0


def free_port() -> int:
    """A TCP port nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def in_processes(count: int, work: Callable[[int], Any]) -> list[Any]:
    """What `work(rank)` returns in each of `count` processes, which torchrun might have started.

    Args:
        count: of processes, on the CPU, meeting over gloo.
        work: its result must be picklable.
    """
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    port = free_port()
    children = [
        context.Process(target=_child, args=(rank, count, port, work, answers), daemon=True)
        for rank in range(count)
    ]
    for child in children:
        child.start()
    try:
        found = dict(answers.get(timeout=TIME_LIMIT_S) for _ in children)
    finally:
        for child in children:
            child.join(timeout=10)
            if child.is_alive():
                child.kill()
    errors = [text for worked, text in found.values() if not worked]
    if errors:
        raise AssertionError("\n".join(errors))
    return [found[rank][1] for rank in range(count)]


def _child(rank: int, count: int, port: int, work: Callable[[int], Any], answers: Any) -> None:
    import torch

    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "ACCELERATE_USE_CPU": "true",
        "OMP_NUM_THREADS": "1",
    }
    try:
        answers.put((rank, (True, work(rank))))
    except BaseException:
        answers.put((rank, (False, traceback.format_exc())))
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
