"""Where work is done: on how many GPUs, or in how many processes on the CPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sfe_core.errors import UserError

Device = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class Placement:
    """The processes that share some work, over all machines; on GPUs each has one of its own."""

    device: Device
    processes: int


def place(
    gpus: int | None = None,
    cpu_processes: int | None = None,
    *,
    machines: int = 1,
    cuda_devices: int | None = None,
    cpu_default: int = 1,
) -> Placement:
    """Choose the devices; nothing that was asked for is replaced by something else.

    Args:
        gpus: the user's choice of GPUs of each machine; None leaves it open.
        cpu_processes: the user's choice of CPU processes of each machine; None leaves it open.
        machines: how many share the work; of several, one of the choices must be given.
        cuda_devices: GPUs of each machine that can be used; None: those of this one, which torch
            is asked for.
        cpu_default: CPU processes without a choice.

    Returns:
        Without a choice: one GPU where there is one, else `cpu_default` processes on the CPU.

    Raises:
        UserError: both choices at once, fewer GPUs than asked for, or less than one process.
    """
    for name, value in (("--gpus", gpus), ("--cpu-processes", cpu_processes)):
        if value is not None and value < 1:
            raise UserError(name, f"{value} is not a number of processes", "give 1 or more")
    if gpus is not None and cpu_processes is not None:
        raise UserError("--gpus, --cpu-processes", "both are given", "give one of them")
    if cpu_processes is not None:
        return Placement("cpu", cpu_processes * machines)
    if gpus is None and machines > 1:
        raise UserError("--nodes", "devices per machine not given", "add --gpus or --cpu-processes")
    found = _gpu_count() if cuda_devices is None else cuda_devices
    if gpus is not None and gpus > found:
        fewer = f"use --gpus {found}, or " if found else ""
        raise UserError(
            f"--gpus {gpus}",
            f"this machine has {found} CUDA device(s)",
            f"{fewer}work on the CPU with --cpu-processes {gpus}",
        )
    if found:
        return Placement("cuda", (gpus or 1) * machines)
    return Placement("cpu", cpu_default)


def _gpu_count() -> int:
    import torch

    return torch.cuda.device_count()
