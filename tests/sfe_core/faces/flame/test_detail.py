"""Displaced surfaces: normals against closed forms and trimesh, dense mesh, masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from sfe_core.errors import UserError
from sfe_core.faces.flame.dense_mesh import load_dense_template
from sfe_core.faces.flame.detail import (
    DetailGeometry,
    load_face_mask,
    load_fixed_displacement,
)
from sfe_core.faces.flame.model import Flame
from sfe_core.faces.flame.normals import MeshNormals
from sfe_core.faces.flame.uv import HeadTemplate, load_head_template


@pytest.fixture(scope="module")
def detail(flame_folder: Path) -> DetailGeometry:
    return DetailGeometry.load(flame_folder)


def smooth_displacement(metres: float) -> torch.Tensor:
    coarse = torch.randn(1, 1, 8, 8, generator=torch.manual_seed(3))
    size = (256, 256)
    return metres * torch.nn.functional.interpolate(coarse, size, mode="bicubic")


def test_without_displacement_the_detail_is_the_coarse_surface(
    flame_folder: Path, flame: Flame
) -> None:
    template = load_head_template(flame_folder)
    bare = DetailGeometry(template, np.ones((256, 256)), np.zeros((256, 256)))
    found = bare.normals(flame.v_template[None], torch.zeros(1, 1, 256, 256))[0]
    coarse = bare.atlas.to_uv(bare.mesh_normals(flame.v_template[None]))[0]
    radius = np.linalg.norm((np.indices((256, 256)) - 127.5) / 128 / 0.92, axis=0)
    deep = torch.tensor(radius < 0.9)
    cosine = torch.cosine_similarity(found, coarse, dim=0)[deep]
    assert cosine.mean() > 0.998 and cosine.min() > 0.9  # facets against smooth normals


def test_bumps_tilt_the_normals_as_their_slope_says() -> None:
    """On a flat patch moved by z = h sin(kx) the normal is (-hk cos kx, 0, 1), made unit."""
    side, metres, height, waves = 128, 0.1, 0.001, 3
    corners = np.array([[0, 0, 0], [metres, 0, 0], [metres, metres, 0], [0, metres, 0]])
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    patch = HeadTemplate(corners, faces, uv, faces)
    flat = np.zeros((side, side))
    x = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    turns = 2 * torch.pi * waves
    bump = (height * torch.sin(turns * x)).expand(1, 1, side, side)
    vertices = torch.tensor(corners[None])
    found = DetailGeometry(patch, np.ones((side, side)), flat).double().normals(vertices, bump)
    slope = height * turns / metres * torch.cos(turns * x)
    exact = torch.stack([-slope, 0 * slope, 1 + 0 * slope]) / (1 + slope**2).sqrt()
    assert (found[0, :, 64, 8:-8] - exact[:, 8:-8]).abs().max() < 2e-3
    # A displacement that is masked out tilts nothing, the fixed one does.
    masked = DetailGeometry(patch, flat, flat).double().normals(vertices, bump)
    assert (masked[0, 2, 8:-8, 8:-8] - 1).abs().max() < 1e-9
    fixed = DetailGeometry(patch, flat, bump[0, 0].numpy()).double()
    assert torch.allclose(fixed.normals(vertices, 0 * bump), found, atol=1e-7)


def test_deca_keeps_the_coarse_normals_outside_the_mask(
    flame_folder: Path, flame: Flame, detail: DetailGeometry
) -> None:
    deca = DetailGeometry.load(flame_folder, coarse_outside=True)
    bump = smooth_displacement(0.002)
    vertices = flame.v_template[None]
    ours, theirs = detail.normals(vertices, bump)[0], deca.normals(vertices, bump)[0]
    inside = detail.face_mask > 0
    coarse = detail.atlas.to_uv(detail.mesh_normals(vertices))[0]
    assert torch.equal(ours[:, inside], theirs[:, inside])
    assert torch.equal(theirs[:, ~inside], coarse[:, ~inside])
    assert (ours - theirs)[:, ~inside & detail.atlas.inside].abs().max() > 1e-3


def test_dense_mesh_lies_on_the_head_moved_along_its_normals(
    flame_folder: Path, flame: Flame
) -> None:
    dense = load_dense_template(flame_folder)
    vertices = flame.v_template.numpy().astype(float)
    normals = (
        MeshNormals(flame.faces.numpy(), 5023)(flame.v_template[None])[0].numpy().astype(float)
    )
    still, faces = dense.displace(vertices, normals, np.zeros((256, 256)))
    moved, _ = dense.displace(vertices, normals, np.full((256, 256), 0.003))
    assert len(still) == len(dense.rows) > 35_000 and faces.max() < len(still)
    assert np.allclose(np.linalg.norm(moved - still, axis=1), 0.003, atol=1e-6)
    coarse = trimesh.Trimesh(vertices, flame.faces.numpy(), process=False)
    _, distance, _ = trimesh.proximity.closest_point_naive(coarse, still[:40])
    assert distance.max() < 1e-6
    marked = np.arange(256 * 256).reshape(256, 256, 1)
    assert (dense.colours(marked)[:, 0] == dense.rows * 256 + dense.columns).all()


def test_masks_are_read_and_fitted_to_the_size(flame_folder: Path) -> None:
    mask = load_face_mask(flame_folder, 256)
    assert set(np.unique(mask)) == {0.0, 1.0} and 0.2 < mask.mean() < 0.8
    assert (load_face_mask(flame_folder, 128) == mask[::2, ::2]).all()


def test_bad_files_are_told(tmp_path: Path, flame_folder: Path) -> None:
    with pytest.raises(UserError, match="fixed_displacement_256"):
        load_fixed_displacement(tmp_path)
    np.save(tmp_path / "fixed_displacement_256.npy", np.zeros((256, 3)))
    with pytest.raises(UserError, match="not a square"):
        load_fixed_displacement(tmp_path)
    (tmp_path / "uv_face_eye_mask.png").write_text("no picture")
    with pytest.raises(UserError, match="is not a picture"):
        load_face_mask(tmp_path, 256)
    np.save(tmp_path / "texture_data_256.npy", np.array({"f": 1}, dtype=object))
    with pytest.raises(UserError, match="valid_pixel_ids"):
        load_dense_template(tmp_path)
