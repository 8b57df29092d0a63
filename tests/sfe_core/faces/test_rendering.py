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
    shadow,
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


def sphere_errors(subdivisions: int) -> tuple[float, float]:
    """Largest errors of depth (pixels) and normals inside 0.9 of a sphere of radius 40 pixels."""
    radius, size = 40.0, 100
    ball = trimesh.creation.icosphere(subdivisions=subdivisions)
    vertices = (ball.vertices * radius + [size / 2, size / 2, 7]).astype(np.float32)
    raster = raycast(vertices, ball.faces.astype(np.int32), size, size)
    rows, columns = np.mgrid[:size, :size] + 0.5
    x, y = (columns - size / 2) / radius, (size / 2 - rows) / radius  # camera frame: y up
    inside = x**2 + y**2 < 0.81
    assert raster.hit[inside].all() and not raster.hit[x**2 + y**2 > 1].any()
    z = np.sqrt(1 - x[inside] ** 2 - y[inside] ** 2)
    exact = np.stack([x[inside], y[inside], z], -1)
    depth_error = np.abs(raster.depth[inside] - (7 + radius * z)).max()
    return float(depth_error), float(np.abs(raster.normals[inside] - exact).max())


def test_depth_and_normals_of_a_sphere_are_the_closed_form() -> None:
    """What is left is the mesh's own error: of second order in depth, with edges half as long."""
    coarse, fine, finest = (sphere_errors(level) for level in (3, 4, 6))
    assert finest[0] < 0.01 and finest[1] < 0.002
    assert 3 < coarse[0] / fine[0] < 5
    assert coarse[1] / fine[1] > 2


@pytest.mark.parametrize(("height", "width"), [(30, 60), (60, 30), (64, 64)])
def test_a_picture_cuts_a_larger_mesh_as_a_window(height: int, width: int) -> None:
    """Every pixel is the one of the uncut picture, wherever the frame lies."""
    ball = trimesh.creation.icosphere(subdivisions=3)
    faces = ball.faces.astype(np.int32)
    vertices = (ball.vertices * 40 + [50, 45, 0]).astype(np.float32)
    whole = raycast(vertices, faces, 100, 100)
    left, top = 20, 10
    part = raycast(vertices - np.array([left, top, 0], np.float32), faces, height, width)
    window = (slice(top, top + height), slice(left, left + width))
    assert (part.face_index == whole.face_index[window]).mean() > 0.995  # edges may tie
    assert np.allclose(part.depth, whole.depth[window], atol=1e-3)
    assert np.allclose(part.normals, whole.normals[window], atol=1e-3)
    rows, columns = np.nonzero(part.hit)
    points = part.interpolate(vertices, faces)[:, :2] - [left, top]
    assert np.allclose(points, np.stack([columns, rows], 1) + 0.5, atol=1e-3)


def test_vertices_without_a_face_change_nothing() -> None:
    ball = trimesh.creation.icosphere(subdivisions=2)
    faces = ball.faces.astype(np.int32)
    vertices = (ball.vertices * 20 + [32, 32, 0]).astype(np.float32)
    strays = np.array([[1e4, -1e4, 1e5]], np.float32)
    alone, beside = (
        raycast(points, faces, 64, 64) for points in (vertices, np.concatenate([vertices, strays]))
    )
    assert (alone.depth == beside.depth).all() and (alone.normals == beside.normals).all()


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


def test_shadow_falls_where_something_stands_between_point_and_lamp():
    floor = [[0, 0, 0], [40, 0, 0], [40, 40, 0], [0, 40, 0]]
    lid = [[10, 10, 8], [20, 10, 8], [20, 20, 8], [10, 20, 8]]
    vertices = np.array(floor + lid, np.float32)
    faces = np.array([[0, 2, 1], [0, 3, 2], [4, 6, 5], [4, 7, 6]], np.int32)
    raster = raycast(vertices, faces, 40, 40)
    # From the left and half up: the lid's shadow lands to its right.
    lamp = np.array([[-1.0, 0.0, 1.0]], np.float32) / np.sqrt(2)
    seen = shadow(raster, vertices, faces, lamp, offset=0.1)
    assert seen[15, 24] == 0 and seen[15, 5] == 1 and seen[30, 24] == 1
    assert seen[15, 15] == 1  # the lid itself
    two = shadow(raster, vertices, faces, np.concatenate([lamp, [[0, 0, 1]]]), offset=0.1)
    assert two[15, 24] == 0.5
    coarse = shadow(raster, vertices, faces, lamp, offset=0.1, step=2)
    assert coarse.shape == seen.shape and np.abs(coarse - seen).mean() < 0.1
