"""How long `sfe --help` takes, beside a Typer program that has as many commands and no work."""

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


def start(program: str) -> int:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--help" in done.stdout
    return 1


def test_help():
    compare("sfe --help", "start", lambda: start(OURS), lambda: start(BARE), rounds=5)
