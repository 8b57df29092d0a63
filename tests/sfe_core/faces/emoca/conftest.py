"""Random models of every released layout, written once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sfe_core.faces.emoca.checkpoint import EmocaNetworks, load_networks
from sfe_core.faces.flame.parameters import load_flame
from tests.emoca_files import write_deca_model, write_emoca_model
from tests.flame_files import write_flame_model


@pytest.fixture(scope="session")
def flame_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_flame_model(tmp_path_factory.mktemp("flame"))


@pytest.fixture(scope="session")
def template(flame_folder: Path) -> torch.Tensor:
    return torch.tensor(load_flame(flame_folder).v_template).float()


@pytest.fixture(scope="session")
def deca_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_deca_model(tmp_path_factory.mktemp("deca") / "deca_model.tar")


@pytest.fixture(scope="session")
def emoca_folder(tmp_path_factory: pytest.TempPathFactory, template: torch.Tensor) -> Path:
    folder = tmp_path_factory.mktemp("emoca") / "EMOCA_v2_lr_mse_20"
    return write_emoca_model(folder, template, exp_deca_jaw_pose=True)


@pytest.fixture(scope="session")
def emoca(emoca_folder: Path) -> EmocaNetworks:
    return load_networks(emoca_folder)
