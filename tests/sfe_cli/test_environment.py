"""What libraries say is no line of ours, and any terminal can show what is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sfe_cli.plain_letters import use_plain_letters

CHATTER = """
import logging, sys, warnings
from sfe_cli.environment import prepare
prepare(debug={debug})
warnings.warn("a warning of a library", UserWarning)
logging.getLogger("matplotlib").warning("a line of a library")
import matplotlib
matplotlib.get_cachedir()
"""


def run(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    here = str(Path(__file__).parents[2])
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=here,
        env=kept | variables, encoding=variables.get("PYTHONIOENCODING"), check=True,
    )  # fmt: skip


def test_what_libraries_say_is_in_the_log_alone(tmp_path: Path) -> None:
    quiet = run(CHATTER.format(debug=False), HOME="/proc/nowhere", XDG_CACHE_HOME=str(tmp_path))
    assert quiet.stderr == quiet.stdout == ""
    log = (tmp_path / "sfe" / "libraries.log").read_text(encoding="utf-8")
    assert "a warning of a library" in log and "matplotlib: a line of a library" in log
    loud = run(CHATTER.format(debug=True), HOME=str(tmp_path))
    assert "a warning of a library" in loud.stderr and "a line of a library" in loud.stderr


def test_where_no_log_can_be_written_nothing_is_said_either() -> None:
    assert run(CHATTER.format(debug=False), HOME="/proc/nowhere").stderr == ""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "cp437"])
def test_numbers_keep_their_sign_on_any_terminal(encoding: str) -> None:
    code = (
        "from sfe_cli.plain_letters import use_plain_letters as use; use(); "
        "print('\u22120.5 [\u22121, 2] 3\u00d74 \u2026 \u2191 caf\u00e9 \u65e5')"
    )
    said = run(code, PYTHONIOENCODING=encoding).stdout
    assert said.startswith("-0.5 [-1, 2] 3") and "?" not in said[:-2]
    assert said.endswith("?\n") and "caf" in said
    if encoding == "ascii":
        assert said == "-0.5 [-1, 2] 3x4 ... ^ cafe ?\n"


def test_streams_that_know_all_letters_show_them(capsys: pytest.CaptureFixture[str]) -> None:
    use_plain_letters()
    print("\u22120.5 \u65e5")  # noqa: T201
    assert capsys.readouterr().out == "\u22120.5 \u65e5\n"
