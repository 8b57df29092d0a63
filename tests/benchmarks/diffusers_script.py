"""diffusers' own train_text_to_image.py, run unchanged, with the time of every update taken.

The script is no part of this project: fetch examples/text_to_image/train_text_to_image.py of
huggingface/diffusers to beside the checkout, or name it in SFE_TRAIN_TEXT_TO_IMAGE.

As a program: `python -m tests.benchmarks.diffusers_script SCRIPT TIMES.json [its arguments]`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import runpy
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

NAME = "train_text_to_image.py"
VARIABLE = "SFE_TRAIN_TEXT_TO_IMAGE"


def require_script() -> Path:
    """Where the script lies; skips the test where it, or what it imports, is not there."""
    place = Path(os.environ.get(VARIABLE, Path(__file__).resolve().parents[3] / NAME))
    if not place.is_file():
        pytest.skip(f"no {place}: fetch it from huggingface/diffusers, or set {VARIABLE}")
    if importlib.util.find_spec("datasets") is None:
        pytest.skip(f"{NAME} imports `datasets`: pip install 'sfe[bench]'")
    return place


def update_seconds(
    script: Path,
    base: Path,
    photos: Path,
    folder: Path,
    updates: int,
    size: int,
    side: int,
    device: str = "cpu",
) -> list[float]:
    """Seconds from one update to the next, over `updates` of `size` images of `side` px.

    float32 on the CPU; on "cuda" bfloat16 and gradient checkpointing.

    Args:
        script: see `require_script`.
        base: folder of a Stable Diffusion pipeline.
        photos: folder of pictures with metadata.jsonl (file_name, text).
        folder: takes what the script writes.
    """
    times = folder / "times.json"
    arguments = {
        "pretrained_model_name_or_path": base,
        "train_data_dir": photos,
        "caption_column": "text",
        "resolution": side,
        "train_batch_size": size,
        "max_train_steps": updates + 1,
        "learning_rate": 1e-6,
        "lr_scheduler": "constant",
        "lr_warmup_steps": 0,
        "mixed_precision": "no",
        "dataloader_num_workers": 0,
        "output_dir": folder / "out",
        "cache_dir": folder / "cache",
        "report_to": "tensorboard",
        "seed": 0,
    }
    if device == "cuda":
        arguments["mixed_precision"] = "bf16"
    words = [f"--{name}={value}" for name, value in arguments.items()]
    words += ["--gradient_checkpointing"] if device == "cuda" else []
    module = [sys.executable, "-m", "tests.benchmarks.diffusers_script", script, times, *words]
    done = subprocess.run(
        [str(word) for word in module],
        cwd=Path(__file__).resolve().parents[2],
        env={
            **os.environ,
            "ACCELERATE_USE_CPU": str(device == "cpu").lower(),
            "HF_HUB_OFFLINE": "1",
        },
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{script} failed:\n{done.stderr[-3000:]}")
    moments = json.loads(times.read_text(encoding="utf-8"))
    return [after - before for before, after in pairwise(moments)]


def main(script: str, times: str, arguments: list[str]) -> None:
    """Run the script and write the moment at the end of every optimiser step."""
    import torch

    moments: list[float] = []
    plain = torch.optim.AdamW.step

    def step(self, *args, **options):
        answer = plain(self, *args, **options)
        moments.append(time.perf_counter())
        return answer

    torch.optim.AdamW.step = step
    sys.argv = [script, *arguments]
    runpy.run_path(script, run_name="__main__")
    Path(times).write_text(json.dumps(moments), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
