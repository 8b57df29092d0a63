"""Where preprocess runs: on how many GPUs, or in how many processes on the CPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from joblib import cpu_count

from sfe_core.config.corpus_sections import PreprocessConfig
from sfe_core.errors import UserError


@dataclass(frozen=True)
class Placement:
    """The processes of a run."""

    device: Literal["cpu", "cuda"]
    processes: int


def place(
    config: PreprocessConfig, gpus: int | None = None, cpu_processes: int | None = None
) -> Placement:
    """Choose the devices; torch is looked at only where a part could use a GPU.

    Args:
        config: of preprocess.
        gpus: the user's choice of GPUs, one process each; None leaves it open.
        cpu_processes: the user's choice of CPU processes, 0 for one per core; None leaves it open.

    Returns:
        Without a choice: one GPU where there is one and a part of the configuration uses it, else
        `config.workers` processes on the CPU.

    Raises:
        UserError: both choices at once, fewer GPUs than asked for, or no part that uses one.
    """
    if gpus is not None and cpu_processes is not None:
        raise UserError(
            "--gpus, --cpu-processes", "both are given", "preprocess runs on the one or the other"
        )
    cores = cpu_count()
    if cpu_processes is not None:
        return Placement("cpu", cpu_processes or cores)
    on_gpu = networks(config)
    if gpus is not None:
        if not on_gpu:
            raise UserError(
                f"--gpus {gpus}",
                "no part of this configuration runs on a GPU",
                f"use --cpu-processes {cores}, or choose other parts in sfe.yaml's preprocess",
            )
        found = _gpu_count()
        if gpus > found:
            raise UserError(
                f"--gpus {gpus}",
                f"{found} found",
                f"use --gpus {found}" if found else f"use --cpu-processes {cores}",
            )
        return Placement("cuda", gpus)
    if on_gpu and _gpu_count():
        return Placement("cuda", 1)
    return Placement("cpu", config.workers or cores)


def networks(config: PreprocessConfig) -> list[str]:
    """The parts of a configuration that are neural networks."""
    chosen = {
        "detector": config.detector == "face-alignment",
        "reconstruction": config.reconstruction in ("emoca", "deca"),
        "depth": config.depth == "zoedepth",
    }
    return [name for name, is_network in chosen.items() if is_network]


def _gpu_count() -> int:
    import torch

    return torch.cuda.device_count()
