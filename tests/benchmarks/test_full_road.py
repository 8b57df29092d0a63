"""Photos per second of FAN, EMOCA and ZoeDepth at their real size, and where the time goes."""

from __future__ import annotations

import json
import platform
import re
from pathlib import Path

import pytest
import torch

from tests.benchmarks.full_road import full_road

pytestmark = pytest.mark.benchmark

RESULTS = Path(__file__).parent / "results"
BATCHES = (1, 4, 8, 16, 32)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_full_road_by_batch(tmp_path: Path) -> None:
    road = full_road(tmp_path, "cuda")
    rows = []
    for batch in BATCHES:
        stages = road.stages(batch)
        rate = road.photos_per_second(batch, tmp_path / f"batch-{batch}")
        rows.append({"batch": batch, "photos_per_second": rate, "ms_per_photo": stages})
        slowest = sorted(stages.items(), key=lambda stage: -stage[1])
        text = ", ".join(f"{name} {milliseconds:.1f}" for name, milliseconds in slowest)
        print(f"\nbatch {batch:>2}: {rate:6.1f} photos/s; ms per photo: {text}", flush=True)
    gpu = torch.cuda.get_device_name()
    found = {
        "what": "sfe preprocess, one process: S3FD, FAN, EMOCA, ZoeDepth, random weights",
        "gpu": gpu,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "photo": list(road.photo.shape[:2]),
        "peak_gpu_memory_gb": torch.cuda.max_memory_allocated() / 1e9,
        "rows": rows,
    }
    RESULTS.mkdir(exist_ok=True)
    name = re.sub(r"[^a-z0-9]+", "-", gpu.lower()).strip("-")
    (RESULTS / f"full-road-{name}.json").write_text(json.dumps(found, indent=2) + "\n")
    assert all(row["photos_per_second"] > 0 for row in rows)
