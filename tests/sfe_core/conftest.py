"""One thread: exact repetition, and no fight over cores between small operations."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sfe_core.config.workspace import Workspace
from tests.tiny import make_tiny_workspace


@pytest.fixture(autouse=True)
def one_thread():
    """Torch on one thread for the length of a test."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def workspace(tmp_path: Path, tiny_base: Path) -> Workspace:
    """A 32 px workspace of 24 random faces: 4 updates of 8 images in batches of 4."""
    return make_tiny_workspace(tmp_path / "work", tiny_base)


def with_settings(workspace: Workspace, **sections: dict) -> Workspace:
    """The workspace with fields of sfe.yaml changed, e.g. `train={"steps": 2}`."""
    values = workspace.config.model_dump()
    for name, changed in sections.items():
        values[name] |= changed
    return Workspace(workspace.root, type(workspace.config).model_validate(values))
