"""Where preprocess runs, which depends on what its parts can use."""

from __future__ import annotations

from joblib import cpu_count

from sfe_core.config.corpus_sections import PreprocessConfig
from sfe_core.errors import UserError
from sfe_core.processes.placement import Placement, place


def place_preprocess(
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
        UserError: no part uses a GPU, or see `place`.
    """
    cores = cpu_count()
    on_gpu = networks(config)
    if gpus is not None and cpu_processes is None and not on_gpu:
        raise UserError(
            f"--gpus {gpus}",
            "no part of this configuration runs on a GPU",
            f"use --cpu-processes {cores}, or choose other parts in sfe.yaml's preprocess",
        )
    return place(
        gpus,
        cores if cpu_processes == 0 else cpu_processes,
        cuda_devices=None if on_gpu else 0,
        cpu_default=config.workers or cores,
    )


def networks(config: PreprocessConfig) -> list[str]:
    """The parts of a configuration that are neural networks."""
    chosen = {
        "detector": config.detector == "face-alignment",
        "reconstruction": config.reconstruction in ("emoca", "deca"),
        "depth": config.depth == "zoedepth",
    }
    return [name for name, is_network in chosen.items() if is_network]
