"""How long imports take: `sfe --help` beside a Typer program of as many commands, and the head."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.benchmarks.measure import compare
from tests.tiny import make_tiny_workspace

pytestmark = pytest.mark.benchmark

OURS = "import sys; sys.argv = ['sfe', '--help']; from sfe_cli.main import run; run()"
DRY_RUN = ["sfe", "train", "--dry-run"]
BARE = """
import sys, typer
sys.argv = ["bare", "--help"]
app = typer.Typer()
for number in range(11):
    app.command(f"command-{number}")(lambda: None)
app()
"""


@pytest.fixture
def workspace_folder(tmp_path, tiny_base, monkeypatch):
    """The current folder: a workspace ready to train."""
    workspace = make_tiny_workspace(tmp_path, tiny_base)
    settings = workspace.config.model_dump(mode="json")
    (workspace.root / "sfe.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    monkeypatch.chdir(workspace.root)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))


def start(program: str, prints: str) -> int:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert prints in done.stdout
    return 1


def test_help():
    compare("sfe --help", "start", lambda: start(OURS, "--help"), lambda: start(BARE, "--help"), 5)


def test_head():
    def ours() -> int:
        return start("import sfe_core.faces.head", "")

    compare("import the head, beside NumPy", "start", ours, lambda: start("import numpy", ""), 5)


def test_dry_run(workspace_folder):
    ours = f"import sys; sys.argv = {DRY_RUN!r}; from sfe_cli.main import run; run()"
    bare = "from diffusers import UNet2DConditionModel"
    compare(
        "sfe train --dry-run",
        "start",
        lambda: start(ours, "parameters"),
        lambda: start(bare, ""),
        3,
    )


@pytest.mark.parametrize(("words", "limit_s"), [(["--help"], 0.4), (["train", "--dry-run"], 6.0)])
def test_a_command_is_there_soon(words, limit_s, workspace_folder):
    took = []
    for _ in range(3):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "sfe_cli.main", *words], check=True)
        took.append(time.perf_counter() - started)
    print(f"\nsfe {' '.join(words)}: {min(took):.2f} s, at most {limit_s} s")
    assert min(took) <= limit_s
