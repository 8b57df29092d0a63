"""Photos to heads, with random networks on a FLAME-shaped head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from numpy.typing import NDArray

from sfe_core.arrays import Floats
from sfe_core.errors import UserError
from sfe_core.faces.backends import load_reconstructor
from sfe_core.faces.emoca.checkpoint import EmocaNetworks
from sfe_core.faces.emoca.flame_head import FlameHead, load_flame_head
from sfe_core.faces.emoca.reconstruction import EmocaReconstructor, load_emoca
from sfe_core.faces.emoca.settings import EmocaSettings
from sfe_core.faces.reconstruction import Reconstruction
from sfe_core.faces.rendering import raycast, rotation_matrix

BOXES = np.zeros((1, 4))


@pytest.fixture(scope="module")
def head(flame_folder: Path, emoca: EmocaNetworks) -> FlameHead:
    return load_flame_head(flame_folder, emoca.settings)


@pytest.fixture(scope="module")
def reconstructor(emoca: EmocaNetworks, head: FlameHead) -> EmocaReconstructor:
    return EmocaReconstructor(emoca, head, "cpu")


@pytest.fixture(scope="module")
def photo() -> NDArray[np.uint8]:
    coarse = np.random.default_rng(3).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    return coarse.repeat(8, 0).repeat(8, 1)


@pytest.fixture(scope="module")
def landmarks(head: FlameHead) -> Floats:
    mean = head.flame.landmarks_2d(head.flame.v_template[None], torch.zeros(1, 6))[0].numpy()
    return mean[:, :2] * [700.0, -700.0] + [205.25, 160.5]


@pytest.fixture(scope="module")
def found(
    reconstructor: EmocaReconstructor, photo: NDArray[np.uint8], landmarks: Floats
) -> Reconstruction:
    return reconstructor.reconstruct([photo], landmarks[None], BOXES)[0]


def test_the_codes_are_all_there(found: Reconstruction) -> None:
    shapes = {name: code.shape for name, code in found.codes.items()}
    assert shapes == {
        "shape": (100,), "tex": (50,), "exp": (50,), "pose": (6,), "cam": (3,), "light": (9, 3),
        "detail": (128,),
    }  # fmt: skip
    assert all(code.dtype == np.float32 for code in found.codes.values())


def test_the_mesh_is_the_codes_mesh(found: Reconstruction, head: FlameHead) -> None:
    codes = {name: torch.from_numpy(code)[None] for name, code in found.codes.items()}
    posed = head.flame(codes["shape"], codes["exp"], codes["pose"])[0].numpy()
    difference = posed - found.points
    np.testing.assert_allclose(difference, np.broadcast_to(difference[0], posed.shape), atol=1e-6)
    eyes = head.flame.J_regressor[3:5].numpy() @ found.points
    np.testing.assert_allclose(eyes.mean(0), 0, atol=1e-6)
    assert sorted(map(tuple, np.sort(found.faces, 1))) == sorted(
        map(tuple, np.sort(head.flame.faces.numpy(), 1))
    )


def test_the_detailed_mesh_lies_on_the_head_within_its_displacement(
    found: Reconstruction, head: FlameHead
) -> None:
    assert found.surface is not None and head.dense is not None
    mesh = found.surface.detailed_mesh()
    assert mesh is not None
    vertices, faces = mesh
    below = np.einsum("pkc,pk->pc", found.points[head.dense.corners], head.dense.weights)
    moved = np.linalg.norm(vertices - below, axis=1)
    most = found.surface.displacement[head.dense.rows, head.dense.columns]
    np.testing.assert_allclose(moved, np.abs(most), atol=1e-6)
    assert moved.max() > 1e-5 and faces.max() < len(vertices)


def test_company_does_not_change_a_face(
    reconstructor: EmocaReconstructor,
    photo: NDArray[np.uint8],
    landmarks: Floats,
    found: Reconstruction,
) -> None:
    other = landmarks * 0.9 + 12
    both = reconstructor.reconstruct([photo[::-1], photo], np.stack([other, landmarks]), BOXES)
    assert np.array_equal(both[1].points, found.points)
    assert both[1].camera.scale == found.camera.scale
    assert not np.allclose(both[0].points, found.points, atol=1e-5)


def test_a_moved_photo_moves_the_head(
    reconstructor: EmocaReconstructor,
    photo: NDArray[np.uint8],
    landmarks: Floats,
    found: Reconstruction,
) -> None:
    wider = np.pad(photo, ((30, 0), (50, 0), (0, 0)))
    moved = reconstructor.reconstruct([wider], landmarks[None] + [50.0, 30.0], BOXES)[0]
    np.testing.assert_allclose(moved.points, found.points, atol=1e-5)
    np.testing.assert_allclose(
        moved.camera.translation - found.camera.translation, [50, 30], atol=1e-2
    )
    assert moved.error == pytest.approx(found.error, abs=1e-4)


def test_angles_are_the_head_poses(found: Reconstruction, head: FlameHead) -> None:
    codes = {name: torch.from_numpy(code)[None] for name, code in found.codes.items()}
    straight = codes["pose"].clone()
    straight[:, :3] = 0
    turned = head.flame(codes["shape"], codes["exp"], codes["pose"])[0].numpy()
    frontal = head.flame(codes["shape"], codes["exp"], straight)[0].numpy()
    # FLAME turns the head round its root joint: up to a shift, by the rotation of the angles.
    by_angles = frontal @ rotation_matrix(*found.angles).T
    shift = (turned - by_angles).mean(0)
    np.testing.assert_allclose(turned, by_angles + shift, atol=1e-5)
    assert max(map(abs, found.angles)) > 5, "an unturned head would prove nothing"


def test_error_is_zero_for_the_heads_own_landmarks(
    reconstructor: EmocaReconstructor, photo: NDArray[np.uint8], found: Reconstruction
) -> None:
    seen = found.landmarks.astype(float)
    again = reconstructor.reconstruct([photo], seen[None], BOXES)[0]
    apart = np.linalg.norm(seen[36] - seen[45])
    expected = np.linalg.norm(again.landmarks - seen, axis=1).mean() / apart
    assert again.error == pytest.approx(expected, rel=1e-5)
    assert again.error > 0


def test_landmarks_lie_on_the_render(found: Reconstruction, head: FlameHead) -> None:
    corners = head.flame.static_corners
    weights = head.flame.static_weights.numpy()
    inner = np.einsum("lkc,lk->lc", found.vertices[corners], weights)[:, :2]
    np.testing.assert_allclose(found.landmarks[17:], inner, atol=1e-2)
    raster = raycast(found.vertices, found.faces, 320, 400)
    assert raster.hit[inner[:, 1].astype(int), inner[:, 0].astype(int)].all()


def test_the_surface_is_finer_than_the_mesh_but_near_it(found: Reconstruction) -> None:
    raster = raycast(found.vertices, found.faces, 320, 400)
    assert found.surface is not None
    normals, albedo = found.surface.normals(raster), found.surface.albedo(raster)
    inner = raster.hit & (raster.normals[..., 2] > 0.5)
    agreement = (normals * raster.normals).sum(-1)[inner]
    assert agreement.mean() > 0.9
    assert agreement.std() > 0.005, "no detail"
    assert albedo is not None
    assert (albedo[raster.hit] > 0).any()
    assert not albedo[~raster.hit].any()
    assert found.surface.light is not None
    assert found.surface.light.shape == (9, 3)


def test_the_bare_mesh_is_shaded_from_its_vertex_normals(found: Reconstruction) -> None:
    raster = raycast(found.vertices, found.faces, 320, 400)
    assert found.surface is not None
    coarse = found.surface.coarse_normals(raster)
    faces = trimesh.Trimesh(found.points, found.faces, process=False).face_normals
    sums = np.zeros_like(found.points)
    areas = trimesh.triangles.area(found.points[found.faces])[:, None]
    for k in range(3):
        np.add.at(sums, found.faces[:, k], faces * areas)
    normals = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    corners = normals[found.faces[raster.face_index[raster.hit]]]
    expected = (corners * raster.barycentric[raster.hit][..., None]).sum(1)
    np.testing.assert_allclose(coarse[raster.hit], expected, atol=1e-4)
    assert not coarse[~raster.hit].any()
    assert (coarse[..., 2] < 0).any(), "at the outline some look away, and stay so"


@pytest.mark.slow
def test_backends_load_by_name_from_the_assets_folder(
    own_assets_root: Path, flame_folder: Path, emoca_folder: Path, deca_file: Path
) -> None:
    (own_assets_root / "flame-2020").mkdir()
    (own_assets_root / "deca-data").mkdir()
    (own_assets_root / "deca").mkdir()
    (own_assets_root / "emoca").mkdir()
    with pytest.raises(UserError, match=r"EMOCA_v2_lr_mse_20.cfg.yaml does not exist.*licence"):
        load_reconstructor("emoca", "cpu")
    (own_assets_root / "emoca" / "EMOCA_v2_lr_mse_20").symlink_to(emoca_folder)
    with pytest.raises(UserError, match=r"generic_model.pkl does not exist"):
        load_reconstructor("emoca", "cpu")
    model = own_assets_root / "flame-2020" / "generic_model.pkl"
    model.symlink_to(flame_folder / model.name)
    with pytest.raises(UserError, match="deca-data"):
        load_reconstructor("emoca", "cpu")
    for path in flame_folder.iterdir():
        if path.suffix in (".obj", ".npy", ".png"):
            (own_assets_root / "deca-data" / path.name).symlink_to(path)
    (own_assets_root / "deca" / deca_file.name).symlink_to(deca_file)
    assert isinstance(load_reconstructor("emoca", "cpu"), EmocaReconstructor)
    assert isinstance(load_reconstructor("deca", "cpu"), EmocaReconstructor)


@pytest.mark.slow
def test_models_load_by_path_too(flame_folder: Path, emoca_folder: Path, deca_file: Path) -> None:
    load_emoca("emoca", "cpu", emoca_folder, flame_folder)
    load_emoca("deca", "cpu", str(deca_file), str(flame_folder / "generic_model.pkl"))


def test_no_albedo_model_is_no_obstacle(flame_folder: Path, tmp_path: Path) -> None:
    for path in flame_folder.iterdir():
        if path.suffix != ".npz":
            (tmp_path / path.name).symlink_to(path)
    assert load_flame_head(tmp_path, EmocaSettings()).albedo is None
