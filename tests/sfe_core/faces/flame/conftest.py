"""One FLAME-shaped folder for all the tests of this package."""

from __future__ import annotations

from pathlib import Path

import pytest

from sfe_core.faces.flame.model import Flame
from tests.flame_files import write_flame_model


@pytest.fixture(scope="session")
def flame_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_flame_model(tmp_path_factory.mktemp("flame"))


@pytest.fixture(scope="session")
def flame(flame_folder: Path) -> Flame:
    return Flame.load(flame_folder)
