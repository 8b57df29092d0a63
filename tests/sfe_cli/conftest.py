"""Workspaces that several commands are typed in."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny import make_tiny_workspace
from tests.tiny_workspace import write_settings


@pytest.fixture
def trainable(tmp_path: Path, tiny_base: Path) -> Path:
    """The folder of a workspace ready to train."""
    return write_settings(make_tiny_workspace(tmp_path / "work", tiny_base))
