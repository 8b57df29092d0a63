"""The command line as it is typed, in this process."""

from __future__ import annotations

from typer.testing import CliRunner, Result

from sfe_cli.main import app


def sfe(*words: object) -> Result:
    """What `sfe` and the words after it say, and how it ends."""
    return CliRunner().invoke(app, [str(word) for word in words])
