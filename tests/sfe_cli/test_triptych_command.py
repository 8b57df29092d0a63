"""`sfe triptych` as typed, over a packaged workspace of random models."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sfe_core.packaging.package import package_checkpoint
from tests.sfe_cli.typed import sfe
from tests.tiny_workspace import SPLIT, make_run, make_workspace, write_settings


@pytest.fixture(scope="module")
def folder(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    workspace = make_workspace(tmp_path_factory.mktemp("triptych") / "my work", tiny_base, count=3)
    make_run(workspace)
    package_checkpoint(workspace)
    return write_settings(workspace)


def test_a_preset_is_drawn_with_and_named_for_the_next_command(folder: Path):
    words = ("triptych", "-w", folder, "--preset", "fast", "--set", "sampling.steps=2")
    result = sfe(*words, "--cpu-processes", "1")
    assert result.exit_code == 0, result.stderr or result.exception
    assert "3, 3 of them new" in result.stdout
    assert "sampling.preset=fast" in result.stdout
    page = (folder / "triptychs" / SPLIT / "index.html").read_text(encoding="utf-8")
    assert page.count("<figure") == 3
    sheets = sorted(path.name for path in (folder / "triptychs" / SPLIT).glob("contact*/*.jpg"))
    assert sheets == ["happy.jpg", "neutral.jpg", "sad.jpg"]
    again = sfe(*words)
    assert "3, 0 of them new" in again.stdout
    assert "0 base, 0 fine-tuned" in again.stdout


def test_mistakes_are_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for args, part in (
        (("--preset", "slow"), "'original'"),
        (("--gpus", "2"), "use --gpus 1"),
        (("--gpus", "1", "--cpu-processes", "1"), "both are given"),
        (("--split", "nothing"), SPLIT),
    ):
        result = sfe("triptych", "-w", folder, *args)
        assert result.exit_code == 2, args
        assert result.stderr.count("\n") == 1 and part in result.stderr
