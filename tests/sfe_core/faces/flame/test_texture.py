"""Albedo models: both published layouts, their colour order and their scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sfe_core.errors import UserError
from sfe_core.faces.flame.texture import AlbedoModel


def small_files(folder: Path) -> tuple[Path, Path, np.ndarray, np.ndarray]:
    """The same 16² model in both layouts (a step of 2 to the maps of 8²)."""
    draw = np.random.default_rng(0)
    mean = draw.uniform(0.2, 0.8, (16, 16, 3))
    basis = draw.normal(0, 0.02, (16, 16, 3, 12))
    bfm, flame = folder / "FLAME_albedo_from_BFM.npz", folder / "FLAME_texture.npz"
    np.savez(bfm, MU=mean, PC=basis)
    np.savez(flame, mean=255 * mean, tex_dir=255 * basis)
    return bfm, flame, mean, basis


def test_codes_give_mean_plus_basis_in_rgb(tmp_path: Path) -> None:
    bfm, flame, mean, basis = small_files(tmp_path)
    codes = torch.randn(2, 10, generator=torch.manual_seed(0))
    found = AlbedoModel.load(bfm, n_texture=10, size=8)(codes).numpy()
    for row in range(2):
        full = mean + basis[..., :10] @ codes[row].double().numpy()
        exact = full[::2, ::2, ::-1].transpose(2, 0, 1)  # the files hold BGR
        assert np.abs(found[row] - exact).max() < 1e-6
    other = AlbedoModel.load(flame, n_texture=10, size=8)(codes).numpy()
    assert np.abs(other - found).max() < 1e-6


def test_thinning_is_nearest_neighbour(tmp_path: Path) -> None:
    bfm, _, mean, _ = small_files(tmp_path)
    picture = torch.tensor(mean[..., ::-1].copy()).permute(2, 0, 1)[None].float()
    nearest = torch.nn.functional.interpolate(picture, (8, 8))
    assert torch.allclose(AlbedoModel.load(bfm, 5, 8)(torch.zeros(1, 5)), nearest, atol=1e-7)


def test_the_published_size_is_read_from_a_folder(flame_folder: Path) -> None:
    model = AlbedoModel.load(flame_folder)
    found = model(torch.zeros(1, 50))
    assert found.shape == (1, 3, 256, 256)
    assert torch.allclose(found[0, :, 0, 0], torch.tensor([0.6, 0.5, 0.4]), atol=1e-6)


def test_other_files_are_refused(tmp_path: Path) -> None:
    bfm, _, mean, _ = small_files(tmp_path)
    with pytest.raises(UserError, match="12 components of side 16"):
        AlbedoModel.load(bfm, n_texture=50, size=8)
    with pytest.raises(UserError, match="side 16"):
        AlbedoModel.load(bfm, n_texture=5, size=7)
    np.savez(tmp_path / "other.npz", something=mean)
    with pytest.raises(UserError, match="holds something"):
        AlbedoModel.load(tmp_path / "other.npz")
    (tmp_path / "torn.npz").write_bytes(bfm.read_bytes()[:500])
    with pytest.raises(UserError, match="cannot be read"):
        AlbedoModel.load(tmp_path / "torn.npz")
