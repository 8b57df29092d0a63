"""An evaluation killed with -9 leaves whole files, and the next one ends as if nothing happened."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from sfe_core.config.workspace import Workspace
from sfe_core.evaluation.evaluate import evaluate
from sfe_core.evaluation.summary import EvaluationSummary

# What is there already when the process dies.
MOMENTS = {
    "while drawing": "generated/val300/guided-*/**/*.png",
    "while reading": "evaluation/.readings/*",
    "while writing": "evaluation/val300/summary.json",
}


@pytest.fixture
def fresh(evaluable: Workspace) -> Workspace:
    """A workspace of which nothing is drawn or measured, with its sfe.yaml."""
    for folder in (evaluable.generated, evaluable.evaluation):
        assert folder.is_dir()
        folder.rename(folder.with_name(f"{folder.name}-of-before"))
    settings = yaml.safe_dump(evaluable.config.model_dump(mode="json"))
    (evaluable.root / "sfe.yaml").write_text(settings, encoding="utf-8")
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
    limit = time.monotonic() + 120
    while not any(workspace.root.glob(pattern)):
        assert process.poll() is None and time.monotonic() < limit, process.communicate()[0]
        time.sleep(0.002)
    process.kill()
    process.communicate()


@pytest.mark.parametrize("pattern", MOMENTS.values(), ids=MOMENTS)
def test_the_next_one_gives_the_same_numbers(
    fresh: Workspace, summary: EvaluationSummary, pattern: str
):
    killed_at(fresh, pattern)
    target = fresh.evaluation / "val300"
    if (target / "summary.json").is_file():
        assert json.loads((target / "summary.json").read_text(encoding="utf-8"))["scores"]
    assert not (target / "report.html").exists()
    again = evaluate(fresh)
    stored = json.loads((target / "summary.json").read_text(encoding="utf-8"))
    assert stored == again.as_json() == summary.as_json()
    tables = [pd.read_csv(folder / "per_image.csv") for folder in (target, summary.folder)]
    pd.testing.assert_frame_equal(*tables)
    assert again.report.is_file()
