"""How many GPUs or CPU processes, from what was asked for and what there is."""

from __future__ import annotations

import pytest

from sfe_core.errors import UserError
from sfe_core.processes.placement import Placement, place


def test_without_a_choice_one_gpu_or_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert place(cuda_devices=4) == Placement("cuda", 1)
    assert place(cuda_devices=0) == Placement("cpu", 1)
    assert place(cuda_devices=0, cpu_default=3) == Placement("cpu", 3)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert place() == Placement("cuda", 1)


def test_the_choice_counts_on_every_machine() -> None:
    assert place(gpus=4, cuda_devices=4) == Placement("cuda", 4)
    assert place(cpu_processes=3, cuda_devices=4) == Placement("cpu", 3)
    assert place(gpus=4, machines=2, cuda_devices=4) == Placement("cuda", 8)
    assert place(cpu_processes=2, machines=3) == Placement("cpu", 6)


@pytest.mark.parametrize(
    ("choice", "cuda", "words"),
    [
        ({"gpus": 2}, 0, "^--gpus 2: this machine has 0 CUDA.*; work on .* --cpu-processes 2$"),
        ({"gpus": 4}, 1, "1 CUDA.*; use --gpus 1, or .*--cpu-processes 4$"),
        ({"gpus": 0}, 1, "^--gpus: 0 is not a number of processes; give 1 or more$"),
        ({"cpu_processes": -1}, 1, "--cpu-processes: -1"),
        ({"gpus": 1, "cpu_processes": 1}, 1, "both are given; give one of them"),
        ({"machines": 2}, 1, "--nodes: devices per machine not given"),
    ],
)
def test_impossible_devices_are_refused_and_never_replaced(choice, cuda, words) -> None:
    with pytest.raises(UserError, match=words):
        place(**choice, cuda_devices=cuda)
