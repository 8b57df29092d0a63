"""Ray casting against closed forms: a tilted square, a sphere, the camera's algebra."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from sfe_core.faces.head import HeadModel
from sfe_core.faces.rendering import (
    DEPTH_RANGE_M,
    Camera,
    depth_map,
    raycast,
    rotation_matrix,
    shade_grey,
    shade_normals,
    vertex_normals,
)


def test_square_covers_exactly_the_pixels_whose_centres_lie_inside() -> None:
    corners = np.array([[2, 3, 0], [8, 3, 6], [8, 7, 6], [2, 7, 0]], np.float32)
    raster = raycast(corners, np.array([[0, 1, 2], [0, 2, 3]], np.int32), 12, 10)
    expected = np.zeros((12, 10), bool)
    expected[3:7, 2:8] = True
    assert (raster.hit == expected).all()
    columns = np.arange(2, 8) + 0.5
    assert np.allclose(raster.depth[4, 2:8], columns - 2, atol=1e-3)
    assert np.allclose(raster.barycentric[raster.hit].sum(1), 1.0, atol=1e-5)


def test_interpolation_returns_the_pixel_centres() -> None:
    corners = np.array([[1, 1, 0], [19, 2, 0], [5, 18, 0]], np.float32)
    faces = np.array([[0, 1, 2]], np.int32)
    raster = raycast(corners, faces, 20, 20)
    rows, columns = np.nonzero(raster.hit)
    points = raster.interpolate(corners, faces)
    assert np.allclose(points[:, :2], np.stack([columns, rows], 1) + 0.5, atol=1e-3)


def test_sphere_normals_and_area() -> None:
    ball = trimesh.creation.icosphere(subdivisions=4)
    vertices = (ball.vertices * [20, 20, 20] + [32, 32, 0]).astype(np.float32)
    raster = raycast(vertices, ball.faces.astype(np.int32), 64, 64)
    assert abs(raster.hit.sum() / (np.pi * 400) - 1) < 0.02
    rows, columns = np.nonzero(raster.hit)
    x, y = (columns + 0.5 - 32) / 20, (32 - rows - 0.5) / 20  # camera frame: y up
    inside = x**2 + y**2 < 0.9
    normals = raster.normals[raster.hit][inside]
    exact = np.stack([x, y, np.sqrt(np.clip(1 - x**2 - y**2, 0, 1))], 1)[inside]
    assert np.abs(normals - exact).max() < 0.05


def test_nearest_surface_wins() -> None:
    far = np.array([[0, 0, 0], [20, 0, 0], [0, 20, 0]], np.float32)
    raster = raycast(
        np.concatenate([far, far + [0, 0, 5]]), np.array([[0, 1, 2], [3, 4, 5]], np.int32), 8, 8
    )
    assert (raster.face_index == 1).all()


def test_mesh_outside_the_picture_gives_an_empty_raster() -> None:
    away = np.array([[100, 100, 0], [110, 100, 0], [100, 110, 0]], np.float32)
    raster = raycast(away, np.array([[0, 1, 2]], np.int32), 16, 16)
    assert not raster.hit.any() and not shade_grey(raster).any()


@pytest.mark.parametrize(
    ("angles", "point", "sign"),
    [
        ((20, 0, 0), (0, 0, 1), (1, 0)),  # yaw turns the nose to image right
        ((0, 20, 0), (0, 0, 1), (0, -1)),  # pitch lifts it
        ((0, 0, 20), (0, 1, 0), (1, -1)),  # roll tips the crown to image right
    ],
)
def test_rotation_directions_in_the_image(angles, point, sign) -> None:
    camera = Camera(rotation_matrix(*angles), 10.0, np.zeros(2))
    x, y, _ = camera.project(np.array(point, np.float32))
    for value, wanted in zip((x, y), sign, strict=True):
        assert value * wanted > 1 if wanted else abs(value) < 1e-5


def test_rotation_is_a_rotation() -> None:
    matrix = rotation_matrix(12, -7, 4)
    assert np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-6)
    assert np.isclose(np.linalg.det(matrix), 1.0, atol=1e-6)


def test_head_renders_face_outwards_with_metric_depth() -> None:
    head = HeadModel.load()
    for size in (64, 160):
        camera = Camera(np.eye(3, dtype=np.float32), size / 0.3, np.array([size / 2, size / 2]))
        raster = raycast(camera.project(head.vertices()[0]), head.faces, size, size)
        depth = depth_map(raster, camera.scale)
        nose = head.landmark_basis()[0][30]
        x, y, _ = camera.project(nose)
        expected = 0.5 + nose[2] / (2 * DEPTH_RANGE_M)
        assert abs(depth[int(y), int(x)] - expected) < 0.02  # the same grey at every size
        assert depth.max() <= 1 and (depth[~raster.hit] == 0).all()
        grey, normals = shade_grey(raster), shade_normals(raster)
        assert grey.dtype == np.uint8 and (grey[raster.hit] > 0).all()
        assert (normals[raster.hit][:, 2] >= 127).all()


def test_vertex_normals_point_outwards() -> None:
    head = HeadModel.load()
    normals = vertex_normals(head.mean, head.faces)
    nose = head.faces[head.landmark_faces[30]]
    assert (normals[nose][:, 2] > 0.5).all()
