"""A packaged workspace, made once and copied for each test that changes it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sfe_core.config.workspace import Workspace
from sfe_core.packaging.package import package_checkpoint
from sfe_core.sampling.pictures import draw_series
from tests.listening import Listener
from tests.tiny_workspace import make_run, make_workspace


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture(scope="session")
def packaged_once(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = make_workspace(tmp_path_factory.mktemp("packaged") / "work", tiny_base, count=5)
    make_run(workspace)
    package_checkpoint(workspace)
    return workspace


@pytest.fixture
def workspace(packaged_once: Workspace, tmp_path: Path) -> Workspace:
    """Five held-out items, a package, nothing drawn yet."""
    shutil.copytree(packaged_once.root, tmp_path / "work")
    return Workspace(tmp_path / "work", packaged_once.config)


def with_sampling(workspace: Workspace, **changes: object) -> Workspace:
    """The workspace with other values in its sampling section."""
    sampling = workspace.config.sampling.model_copy(update=changes)
    return Workspace(workspace.root, workspace.config.model_copy(update={"sampling": sampling}))


def draw_split(*arguments, **options) -> Path:
    """The folder of a split's pictures, those that were missing drawn."""
    return draw_series(*arguments, **options).folder
