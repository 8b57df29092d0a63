"""Which checkpoint is meant, and whether its files are whole."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from safetensors import SafetensorError, safe_open

from sfe_core.errors import RunError, UserError

Weights = Literal["ema", "raw"]
_CHECKPOINT = re.compile(r"^checkpoint-(\d+)$")
_WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint of one run."""

    run: str
    step: int
    folder: Path

    @property
    def has_ema(self) -> bool:
        """Whether the run kept an exponential moving average of its weights."""
        return (self.folder / "unet_ema").is_dir()


def list_checkpoints(runs: Path) -> list[Checkpoint]:
    """All checkpoints below `runs`, oldest first.

    Age is that of meta.json, which training writes last; steps decide between equals.
    """
    found = []
    for folder in runs.glob("*/checkpoint-*"):
        match = _CHECKPOINT.match(folder.name)
        if match and folder.is_dir():
            found.append(Checkpoint(folder.parent.name, int(match[1]), folder))
    return sorted(found, key=lambda one: (_age(one.folder), one.step, one.run))


def _age(folder: Path) -> int:
    meta = folder / "meta.json"
    return (meta if meta.is_file() else folder).stat().st_mtime_ns


def choose_checkpoint(runs: Path, run: str | None = None, step: int | None = None) -> Checkpoint:
    """The checkpoint asked for; without `run` of the run trained last, without `step` its last.

    Raises:
        UserError: no run, no such run, or no such step; those present are listed.
    """
    present = list_checkpoints(runs)
    if not present:
        raise UserError(runs, "holds no checkpoint", "run `sfe train` first")
    if run is None:
        run = present[-1].run
    of_run = sorted((one for one in present if one.run == run), key=lambda one: one.step)
    if not of_run:
        names = ", ".join(sorted({one.run for one in present}))
        raise UserError("--run", f"no run {run!r} with a checkpoint", f"there are: {names}")
    if step is None:
        return of_run[-1]
    for one in of_run:
        if one.step == step:
            return one
    steps = ", ".join(str(one.step) for one in of_run)
    raise UserError("--step", f"run {run} has no checkpoint {step}", f"it has: {steps}")


def weight_folders(checkpoint: Checkpoint, weights: Weights) -> dict[str, Path]:
    """Part of the pipeline (unet, guidance_encoder) to the checkpoint's folder for it.

    Raises:
        UserError: the average is asked for and the run kept none.
        RunError: a file is missing, empty or cut short.
    """
    if weights == "ema" and not checkpoint.has_ema:
        raise UserError("--weights", f"{checkpoint.folder} has no unet_ema/", "use --weights raw")
    suffix = "_ema" if weights == "ema" else ""
    folders = {"unet": checkpoint.folder / f"unet{suffix}"}
    if any((checkpoint.folder / f"guidance_encoder{end}").is_dir() for end in ("", "_ema")):
        folders["guidance_encoder"] = checkpoint.folder / f"guidance_encoder{suffix}"
    for folder in folders.values():
        _check_whole(folder, checkpoint)
    return folders


def _check_whole(folder: Path, checkpoint: Checkpoint) -> None:
    remedy = f"package another step of run {checkpoint.run} with --step"
    for path in (checkpoint.folder / "meta.json", folder / "config.json", folder / _WEIGHTS_FILE):
        if not path.is_file():
            raise RunError(path, "is missing: the checkpoint is torn", remedy)
    path = folder / _WEIGHTS_FILE
    try:
        # The header states where the last tensor ends; a shorter file is refused here.
        with safe_open(path, framework="pt") as tensors:
            tensors.keys()
    except (SafetensorError, OSError) as error:
        raise RunError(path, f"is torn ({error})", remedy) from error
