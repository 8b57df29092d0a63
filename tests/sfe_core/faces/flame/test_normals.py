"""Normals of meshes and of UV maps against trimesh, a sphere, and each other."""

from __future__ import annotations

import numpy as np
import torch
import trimesh

from sfe_core.faces.flame.model import Flame
from sfe_core.faces.flame.normals import MeshNormals, grid_normals


def test_mesh_normals_agree_with_trimesh(flame: Flame) -> None:
    mesh = trimesh.Trimesh(flame.v_template.numpy(), flame.faces.numpy(), process=False)
    across = np.cross(*np.moveaxis(mesh.triangles[:, 1:] - mesh.triangles[:, :1], 1, 0))
    sums = np.zeros_like(mesh.vertices)
    np.add.at(sums, mesh.faces.ravel(), np.repeat(across, 3, axis=0))
    exact = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    found = MeshNormals(flame.faces.numpy(), 5023)(flame.v_template[None])[0].numpy()
    assert np.abs(found - exact).max() < 1e-4
    assert (found * flame.v_template.numpy()).sum(1).mean() > 0.05  # outwards


def test_grid_normals_of_a_sphere_are_its_radii() -> None:
    lines = torch.linspace(-0.07, 0.07, 64)
    x, y = lines.expand(64, 64), -lines[:, None].expand(64, 64)
    points = torch.stack([x, y, (0.1**2 - x**2 - y**2).sqrt()])[None]
    found = grid_normals(points.double(), margins=(5, 2))
    inner = (slice(None), slice(None), slice(6, -6), slice(3, -3))
    assert (found[inner] - points[inner] / 0.1).abs().max() < 2e-3
    assert not found[:, :, :5].any() and not found[:, :, :, -2:].any()  # the border
    assert (grid_normals(points.double()).norm(dim=1) > 0.99).all()  # none, unless asked for


def test_grid_normals_agree_with_a_mesh_of_the_same_squares() -> None:
    points = torch.randn(1, 3, 20, 16, dtype=torch.float64, generator=torch.manual_seed(0))
    number = np.arange(20 * 16).reshape(20, 16)[5:-5, 2:-2]
    a, b, c, d = number[:-1, :-1], number[:-1, 1:], number[1:, :-1], number[1:, 1:]
    faces = np.concatenate([np.stack(t, -1).reshape(-1, 3) for t in ((a, c, b), (b, c, d))])
    flat = points[0].reshape(3, -1).T[None]
    exact = MeshNormals(faces, 320)(flat)[0].T.reshape(3, 20, 16)
    assert torch.allclose(grid_normals(points, (5, 2))[0], exact, atol=1e-12)


def test_sums_are_those_of_adding_up_in_order_to_the_last_bit(flame: Flame) -> None:
    """The order of the public implementations: every face's second, third, then first corner."""
    points = flame.v_template[None]
    sums = torch.zeros_like(points)
    for k in (1, 2, 0):
        here, after, before = (points[:, flame.faces[:, (k + n) % 3]] for n in range(3))
        sums.index_add_(1, flame.faces[:, k], torch.linalg.cross(after - here, before - here))
    exact = torch.nn.functional.normalize(sums, dim=-1, eps=1e-6)
    found = MeshNormals(flame.faces.numpy(), 5023)(points)
    assert torch.equal(found, exact)


def test_a_vertex_without_faces_has_no_normal() -> None:
    corners = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 5, 5]]])
    found = MeshNormals(np.array([[0, 1, 2]]), 4)(corners)[0]
    assert found.tolist() == [[0, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 0]]
