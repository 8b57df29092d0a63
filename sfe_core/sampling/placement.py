"""Where pictures are drawn: on how many GPUs, or in how many processes on the CPU."""

from __future__ import annotations

import torch

from sfe_core.errors import UserError
from sfe_core.processes.placement import Placement


def place_drawing(gpus: int | None = None, cpu_processes: int | None = None) -> Placement:
    """Choose the devices.

    Args:
        gpus: GPUs, one process each; None leaves it open.
        cpu_processes: processes on the CPU; None leaves it open.

    Returns:
        Without a choice: one GPU where there is one, else one process on the CPU.

    Raises:
        UserError: both choices at once, or fewer GPUs than asked for.
    """
    if gpus is not None and cpu_processes is not None:
        raise UserError("--gpus, --cpu-processes", "both are given", "choose the one or the other")
    if cpu_processes is not None:
        return Placement("cpu", cpu_processes)
    found = torch.cuda.device_count()
    if gpus is not None and gpus > found:
        raise UserError(
            f"--gpus {gpus}",
            f"{found} found",
            f"use --gpus {found}" if found else "use --cpu-processes 1",
        )
    return Placement("cuda", gpus or 1) if found else Placement("cpu", 1)
