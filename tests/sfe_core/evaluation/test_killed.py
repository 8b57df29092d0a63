"""An evaluation killed with -9 leaves whole files, and a later one ends as if nothing happened."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from sfe_core.config.workspace import Workspace
from sfe_core.evaluation.evaluate import evaluate
from sfe_core.evaluation.summary import EvaluationSummary
from tests.tiny_workspace import write_settings

pytestmark = pytest.mark.slow
# What is there already when the process dies: while drawing, while reading, while writing.
MOMENTS = (
    "generated/val300/guided-*/**/*.png",
    "evaluation/.readings/*",
    "evaluation/val300/summary.json",
)


@pytest.fixture
def fresh(evaluable: Workspace) -> Workspace:
    """A workspace of which nothing is drawn or measured, with its sfe.yaml."""
    for folder in (evaluable.generated, evaluable.evaluation):
        assert folder.is_dir()
        folder.rename(folder.with_name(f"{folder.name}-of-before"))
    write_settings(evaluable)
    return evaluable


def killed_at(workspace: Workspace, pattern: str) -> None:
    """Run `sfe evaluate` and kill it as soon as a file of that pattern is there."""
    command = [sys.executable, "-m", "sfe_cli.main", "evaluate", "--workspace", str(workspace.root)]
    repository = Path(__file__).resolve().parents[3]
    process = subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": str(repository)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while not any(workspace.root.glob(pattern)):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.002)
    process.kill()
    process.communicate()


def test_the_next_one_gives_the_same_numbers(fresh: Workspace, summary: EvaluationSummary):
    target = fresh.evaluation / "val300"
    for pattern in MOMENTS:
        killed_at(fresh, pattern)
        assert not (target / "report.html").exists()
    assert json.loads((target / "summary.json").read_text(encoding="utf-8"))["scores"]
    again = evaluate(fresh)
    stored = json.loads((target / "summary.json").read_text(encoding="utf-8"))
    assert stored == again.as_json() == summary.as_json()
    tables = [pd.read_csv(folder / "per_image.csv") for folder in (target, summary.folder)]
    pd.testing.assert_frame_equal(*tables)
    assert again.report.is_file()
