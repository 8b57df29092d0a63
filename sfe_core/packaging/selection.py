"""Which checkpoint is meant, and whether its files are whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from safetensors import SafetensorError, safe_open

from sfe_core.diffusion.guidance_files import (
    EXPRESSIONS_FOLDER,
    FUSION_FOLDER,
    UNITS_FOLDER,
    bank_maps,
)
from sfe_core.errors import RunError, UserError
from sfe_core.training.engine.checkpoints import (
    list_checkpoints,
    newest_checkpoint,
    verify_checkpoint,
)
from sfe_core.training.engine.checksums import CHECKSUMS

Weights = Literal["ema", "raw"]
_TEXT_ENCODERS = ("text_encoder", "text_encoder_2")
_TOKENIZERS = ("tokenizer", "tokenizer_2")
_WEIGHTS_FILES = dict.fromkeys(_TEXT_ENCODERS, "model.safetensors")  # as transformers names it
_WEIGHTS_FILE = "diffusion_pytorch_model.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint of one run: `runs/<run>/checkpoint-<step>/`."""

    folder: Path

    @property
    def run(self) -> str:
        """Name of the run."""
        return self.folder.parent.name

    @property
    def step(self) -> int:
        """Updates done."""
        return int(self.folder.name.rpartition("-")[2])

    @property
    def has_ema(self) -> bool:
        """Whether the run kept an exponential moving average of its weights."""
        return any(self.folder.glob("*_ema"))


def choose_checkpoint(runs: Path, run: str | None = None, step: int | None = None) -> Checkpoint:
    """The checkpoint asked for; without `run` of the run saved last, without `step` its last.

    Raises:
        UserError: no run, no such run, or no such step; those present are listed.
        RunError: the checkpoint asked for is torn.
    """
    folder = newest_checkpoint(runs).parent if run is None else runs / run
    present = {Checkpoint(path).step: path for path in list_checkpoints(folder)}
    if step is None and present:
        return Checkpoint(present[max(present)])
    if step in present:
        return Checkpoint(present[step])
    if step is not None and (folder / f"checkpoint-{step}").is_dir():
        raise RunError(
            folder / f"checkpoint-{step}", "is torn (no meta.json)", _others(present, "whole are")
        )
    if present:
        raise UserError(
            "--step", f"run {folder.name} has no checkpoint {step}", _others(present, "it has")
        )
    folders = sorted(runs.iterdir()) if runs.is_dir() else []
    found = ", ".join(one.name for one in folders if list_checkpoints(one))
    remedy = f"there are: {found}" if found else "run `sfe train` first"
    raise UserError("--run", f"no run {run!r} with a checkpoint", remedy)


def _others(present: dict[int, Path], verb: str) -> str:
    return f"{verb}: {', '.join(map(str, present)) or 'none'}"


def _guides(folder: Path) -> bool:
    """Whether there are guidance encoders; a run without maps leaves a folder without weights."""
    try:
        return bool(bank_maps(folder))
    except (OSError, ValueError, KeyError, TypeError):
        return True  # torn, which is told when its weights are looked at


def weight_folders(checkpoint: Checkpoint, weights: Weights) -> dict[str, Path]:
    """Part of the pipeline (unet, guidance_encoder, …) to the checkpoint's folder for it.

    A run that learnt action units or expressions may have left the base's UNet as it is.

    Raises:
        UserError: the average is asked for and the run kept none.
        RunError: a file is missing, empty or cut short.
    """
    if weights == "ema" and not checkpoint.has_ema:
        raise UserError("--weights", f"{checkpoint.folder} has no average", "use --weights raw")
    suffix = "_ema" if weights == "ema" else ""
    # Asked of the raw weights, which are always there, so that a torn average is told of.
    learnt = ("unet", UNITS_FOLDER, EXPRESSIONS_FOLDER, FUSION_FOLDER)
    trained = [name for name in learnt if (checkpoint.folder / name).is_dir()]
    folders = {name: checkpoint.folder / f"{name}{suffix}" for name in trained or ["unet"]}
    # A run may have used expressions that it did not train, which then have no average.
    if EXPRESSIONS_FOLDER in folders and not folders[EXPRESSIONS_FOLDER].is_dir():
        folders[EXPRESSIONS_FOLDER] = checkpoint.folder / EXPRESSIONS_FOLDER
    if any(_guides(checkpoint.folder / f"guidance_encoder{end}") for end in ("", "_ema")):
        folders["guidance_encoder"] = checkpoint.folder / f"guidance_encoder{suffix}"
    # There where the run trained them.
    for name in _TEXT_ENCODERS:
        if (checkpoint.folder / f"{name}{suffix}").is_dir():
            folders[name] = checkpoint.folder / f"{name}{suffix}"
    _require_whole(checkpoint, folders)
    # There where the run predicts or schedules noise in another way than its base.
    if (checkpoint.folder / "scheduler").is_dir():
        folders["scheduler"] = checkpoint.folder / "scheduler"
    # There where the run taught them new words.
    for name in _TOKENIZERS:
        if (checkpoint.folder / name).is_dir():
            folders[name] = checkpoint.folder / name
    return folders


def network_folder(checkpoint: Checkpoint, name: str, weights: Weights) -> Path:
    """The checkpoint's folder of one network, its files seen to be whole.

    Raises:
        UserError: the average is asked for and the run kept none.
        RunError: a file is missing, empty or cut short.
    """
    if weights == "ema" and not checkpoint.has_ema:
        raise UserError("--weights", f"{checkpoint.folder} has no average", "use --weights raw")
    folder = checkpoint.folder / (f"{name}_ema" if weights == "ema" else name)
    _require_whole(checkpoint, {name: folder})
    return folder


def _require_whole(checkpoint: Checkpoint, folders: Mapping[str, Path]) -> None:
    for part, folder in folders.items():
        _check_whole(folder, _WEIGHTS_FILES.get(part, _WEIGHTS_FILE), checkpoint)
    # Checkpoints of older versions have no checksums to hold them against.
    summed = (checkpoint.folder / CHECKSUMS).is_file()
    problem = verify_checkpoint(checkpoint.folder) if summed else None
    if problem is not None:
        raise RunError(
            checkpoint.folder,
            f"is torn or was changed ({problem})",
            f"package another step of run {checkpoint.run} with --step",
        )


def _check_whole(folder: Path, weights: str, checkpoint: Checkpoint) -> None:
    remedy = f"package another step of run {checkpoint.run} with --step"
    for path in (checkpoint.folder / "meta.json", folder / "config.json", folder / weights):
        if not path.is_file():
            raise RunError(path, "is missing: the checkpoint is torn", remedy)
    path = folder / weights
    try:
        # The header states where the last tensor ends; a shorter file is refused here.
        with safe_open(path, framework="pt") as tensors:
            tensors.keys()
    except (SafetensorError, OSError) as error:
        raise RunError(path, f"is torn ({error})", remedy) from error
