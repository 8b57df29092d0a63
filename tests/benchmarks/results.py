"""Numbers of a benchmark, kept in tests/benchmarks/results/ with what they were measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import torch

from sfe_core.files import write_json

FOLDER = Path(__file__).parent / "results"
VARIABLE = "SFE_RECORD"


def record(name: str, numbers: dict[str, Any], side: int, batch: int) -> Path | None:
    """Write results/<name>.json if the variable SFE_RECORD is set; its path, else None.

    Args:
        name: of the benchmark.
        numbers: JSON-able.
        side, batch: pixels and images per pass that they are of.
    """
    if not os.environ.get(VARIABLE):
        return None
    on_gpu = torch.cuda.is_available()
    device = torch.cuda.get_device_name() if on_gpu else f"{os.cpu_count()} CPU cores"
    setting = {
        "device": device,
        "machine": platform.machine(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "load": [round(value, 2) for value in os.getloadavg()],
        "side_px": side,
        "batch": batch,
    }
    path = FOLDER / f"{name}.json"
    write_json(path, {"setting": setting, **numbers})
    return path
