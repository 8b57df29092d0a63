"""How long imports take: `sfe --help` beside a Typer program of as many commands, and the head."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.benchmarks.measure import compare

pytestmark = pytest.mark.benchmark

OURS = "import sys; sys.argv = ['sfe', '--help']; from sfe_cli.main import run; run()"
BARE = """
import sys, typer
sys.argv = ["bare", "--help"]
app = typer.Typer()
for number in range(11):
    app.command(f"command-{number}")(lambda: None)
app()
"""


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
