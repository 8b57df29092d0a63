"""`sfe train --preflight` and `--batch-size auto`, as typed."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from sfe_cli.main import app
from sfe_cli.preflight import parse_batch_size
from sfe_core.processes import launching
from tests.tiny import make_tiny_workspace


@pytest.fixture
def folder(tmp_path: Path, tiny_base: Path) -> Path:
    """A workspace ready to train."""
    workspace = make_tiny_workspace(tmp_path / "work", tiny_base)
    settings = workspace.config.model_dump(mode="json")
    (workspace.root / "sfe.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return workspace.root


def test_batch_sizes_as_typed() -> None:
    assert parse_batch_size("12") == 12
    for text in ("0", "-3", "many", "1.5"):
        with pytest.raises(typer.BadParameter, match="neither a number of images nor auto"):
            parse_batch_size(text)


def test_preflight_shows_what_was_measured(folder: Path, monkeypatch) -> None:
    told = {
        "batch_size": 4,
        "pass_s": 0.5,
        "rest_s": 1.0,
        "peak_bytes": {"update": 3 * 10**9, "sample": 10**9, "save": 10**9},
        "checkpoint_bytes": 5 * 10**6,
    }
    monkeypatch.setattr(launching, "follow", lambda *arguments: told)
    said = CliRunner().invoke(app, ["train", "-w", str(folder), "--preflight"])
    assert said.exit_code == 0, said.output
    lines = {line.split("  ")[0]: line for line in said.stdout.splitlines()}
    assert lines["images/s"].split() == ["images/s", "4"]  # two passes of 4 in 2 seconds
    assert lines["whole run"].split() == ["whole", "run", "0:08", "and", "samples"]
    assert "3.00 GB" in lines["peak memory, update"] and "5.0 MB" in lines["a checkpoint"]
    assert "train.batch_size: 2" in lines["cheaper"]
    told.update(failed_in="update", peak_bytes={})
    said = CliRunner().invoke(app, ["train", "-w", str(folder), "--preflight"])
    assert said.exit_code == 1 and "out of memory in" in said.stdout


def test_auto_takes_the_largest_batch_that_fits(folder: Path, monkeypatch) -> None:
    tried = [{"batch_size": size} for size in (1, 2)]
    monkeypatch.setattr(launching, "follow", lambda *arguments: tried)
    arguments = ["train", "-w", str(folder), "--batch-size", "auto", "--dry-run"]
    said = CliRunner().invoke(app, arguments)
    assert said.exit_code == 0, said.output
    assert "8 = 2 x 4 passes x 1 processes" in said.stdout
