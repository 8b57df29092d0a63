"""`sfe train --preflight` and `--batch-size auto`, as typed."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from sfe_cli.preflight import parse_batch_size
from sfe_core.processes import launching
from tests.sfe_cli.typed import sfe


def test_batch_sizes_as_typed() -> None:
    assert parse_batch_size("12") == 12
    for text in ("0", "-3", "many", "1.5"):
        with pytest.raises(typer.BadParameter, match="neither a number of images nor auto"):
            parse_batch_size(text)


def test_preflight_shows_what_was_measured(trainable: Path, monkeypatch) -> None:
    told = {
        "batch_size": 4,
        "pass_s": 0.5,
        "rest_s": 1.0,
        "peak_bytes": {"update": 3 * 10**9, "sample": 10**9, "save": 10**9},
        "checkpoint_bytes": 5 * 10**6,
    }
    monkeypatch.setattr(launching, "follow", lambda *arguments: told)
    said = sfe("train", "-w", trainable, "--preflight")
    assert said.exit_code == 0, said.output
    lines = {line.split("  ")[0]: line for line in said.stdout.splitlines()}
    assert lines["images/s"].split() == ["images/s", "4"]  # two passes of 4 in 2 seconds
    assert lines["whole run"].split() == ["whole", "run", "0:08", "and", "samples"]
    assert "3.00 GB" in lines["peak memory, update"] and "5.0 MB" in lines["a checkpoint"]
    assert "train.batch_size: 2" in lines["cheaper"]
    told.update(failed_in="update", peak_bytes={})
    said = sfe("train", "-w", trainable, "--preflight")
    assert said.exit_code == 1 and "out of memory in" in said.stdout


def test_auto_takes_the_largest_batch_that_fits(trainable: Path, monkeypatch) -> None:
    tried = [{"batch_size": size} for size in (1, 2)]
    monkeypatch.setattr(launching, "follow", lambda *arguments: tried)
    said = sfe("train", "-w", trainable, "--batch-size", "auto", "--dry-run")
    assert said.exit_code == 0, said.output
    assert "8 = 2 x 4 passes x 1 processes" in said.stdout
