"""What every test shares: few threads, no network, no assets of the user's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Set before torch is imported anywhere: the machine is shared, and results must not depend on it.
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")


@pytest.fixture(autouse=True)
def own_assets_root(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch):
    """An empty assets folder, so that no test depends on what its machine has fetched."""
    folder = tmp_path_factory.mktemp("assets")
    monkeypatch.setenv("SFE_ASSETS", str(folder))
    return folder


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random Stable Diffusion of a few hundred thousand parameters."""
    from tests.tiny import make_tiny_base

    return make_tiny_base(tmp_path_factory.mktemp("tiny") / "base")


@pytest.fixture(scope="session")
def tiny_sdxl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random SDXL of a few hundred thousand parameters."""
    from tests.tiny_sdxl import make_tiny_sdxl

    return make_tiny_sdxl(tmp_path_factory.mktemp("tiny_sdxl") / "base")


@pytest.fixture
def workspace_folder(tmp_path: Path) -> Path:
    """A workspace of the tiny preset with an empty photos folder."""
    (tmp_path / "sfe.yaml").write_text("preset: tiny\n", encoding="utf-8")
    (tmp_path / "photos").mkdir()
    return tmp_path
