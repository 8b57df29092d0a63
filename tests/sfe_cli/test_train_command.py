"""`sfe train` as typed: what is refused at once, what is shown, and how it ends."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sfe_core.losses import noise
from sfe_core.training.engine.checkpoints import list_checkpoints
from sfe_core.training.engine.run_folder import lock_run
from tests.sfe_cli.typed import sfe
from tests.sfe_core.training.engine.test_checkpoints import make
from tests.tiny import make_tiny_workspace
from tests.tiny_workspace import write_settings


@pytest.fixture
def folder(tmp_path: Path, tiny_base: Path) -> Path:
    """A workspace ready to train, two updates."""
    off = dict.fromkeys(("perceptual", "valence", "arousal", "expression"), 0.0)
    train = {"steps": 2, "trackers": ()}
    return write_settings(make_tiny_workspace(tmp_path / "work", tiny_base, train=train, loss=off))


def said_by(folder: Path, *words: str):
    return sfe("train", "-w", folder, *words)


@pytest.mark.slow
@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_a_dry_run_refuses_what_the_run_would(folder: Path, dry) -> None:
    make(folder / "runs" / "mine", 2)
    lock = lock_run(folder / "runs" / "busy")
    for words, code, line in (
        (["--run", "mine"], 2, "error: run mine: exists already; choose another name, or go on"),
        (["--run", "../mine"], 2, "error: --run '../mine': is not a name of a folder"),
        (["--run", "busy"], 1, "error: run busy: another `sfe train` is at work in it"),
        (["--resume", "busy"], 2, "error: --resume busy: the run has saved no checkpoint yet"),
        (["--resume", "gone"], 2, "error: --resume gone: no checkpoint there; give auto, a chec"),
        (["--set", "train.seed=-1"], 2, "error: --set: train.seed: found -1; allowed is greater"),
        (["--set", f"train.seed={2**64}"], 2, f"error: --set: train.seed: found {2**64}; allowed"),
    ):
        said = said_by(folder, *words, *dry)
        assert (said.exit_code, said.stderr[: len(line)]) == (code, line), said.output
        assert said.stderr.count("\n") == 1 and said.stdout == ""
    lock.release()
    assert [run.name for run in sorted((folder / "runs").iterdir())] == ["busy", "mine"]


def test_the_environment_is_shown_in_the_plan(folder: Path, monkeypatch) -> None:
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    said = said_by(folder, "--dry-run")
    rows = dict(line.split("  ", 1) for line in said.stdout.splitlines())
    assert rows["environment"].strip() == "NVIDIA_TF32_OVERRIDE=0"
    assert "not taken from the environment: ACCELERATE_GRADIENT_ACCUM" in rows["warning"]


def test_processes_of_other_launchers_are_refused(folder: Path, monkeypatch) -> None:
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    for words in ((), ("--dry-run",), ("--preflight",), ("--batch-size", "auto")):
        said = said_by(folder, *words)
        assert said.exit_code == 2 and "mpirun started 2 of it" in said.stderr


def test_a_run_that_learnt_nothing_is_an_error_and_names_no_next_step(
    folder: Path, monkeypatch
) -> None:
    honest = noise.noise_l1
    monkeypatch.setattr(noise, "noise_l1", lambda *values: honest(*values) * torch.nan)
    said = said_by(folder, "--run", "sick")
    assert said.exit_code == 1 and "next:" not in said.stdout
    assert "run sick, update 2: " in said.stderr and "nothing was learnt" in said.stderr
    assert list_checkpoints(folder / "runs" / "sick") == []
