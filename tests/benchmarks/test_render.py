"""Geometry pictures of a FLAME-sized mesh, beside the same picture through trimesh alone."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
import torch
import trimesh

from sfe_core.faces.flame.detail import DetailGeometry
from sfe_core.faces.flame.surface import FlameSurface
from sfe_core.faces.flame.uv import load_head_template
from sfe_core.faces.rendering import raycast, shade_grey
from sfe_core.faces.shading import shade_geometry, to_pixels
from tests.benchmarks.measure import compare
from tests.flame_files import FACES, VERTICES, head_surface, make_disk, write_flame_model

pytestmark = pytest.mark.benchmark

SIZE_PX = 224
HEADS = 10
LIMIT_MS = 15.0


@pytest.fixture(scope="module")
def head() -> tuple[np.ndarray, np.ndarray]:
    """Vertices in the picture's pixels and faces: 5,023 and 9,976 of them, as FLAME has."""
    disk = make_disk()
    scale = SIZE_PX / 0.26
    vertices = head_surface(disk) * [scale, -scale, scale] + [SIZE_PX / 2, SIZE_PX / 2, 0]
    assert (len(vertices), len(disk.faces)) == (VERTICES, FACES)
    return vertices.astype(np.float32), disk.faces.astype(np.int32)


def plain_picture(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """What a script would write: trimesh's own embree rays, its normals, its barycentrics."""
    upright = vertices * [1, -1, 1]
    mesh = trimesh.Trimesh(upright, faces[:, ::-1], process=False)
    columns, rows = np.meshgrid(np.arange(SIZE_PX) + 0.5, np.arange(SIZE_PX) + 0.5)
    origins = np.stack([columns, -rows, np.full_like(rows, 1e3)], -1).reshape(-1, 3)
    directions = np.tile([0.0, 0.0, -1.0], (len(origins), 1))
    places, rays, met = mesh.ray.intersects_location(origins, directions, multiple_hits=False)
    weights = trimesh.triangles.points_to_barycentric(mesh.triangles[met], places)
    normals = (mesh.vertex_normals[mesh.faces[met]] * weights[..., None]).sum(1)
    picture = np.zeros((SIZE_PX**2, 3), np.uint8)
    towards = np.array([-0.3, 0.45, 0.84])
    picture[rays] = (40 + 200 * (normals @ towards).clip(0, 1))[:, None].astype(np.uint8)
    return picture.reshape(SIZE_PX, SIZE_PX, 3)


def cpu_ms(work: Callable[[], int]) -> float:
    """Processor time of the best of five rounds: on a shared machine the clock counts others."""
    best = float("inf")
    for _ in range(5):
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started)
    return 1e3 * best


def test_geometry_picture(head: tuple[np.ndarray, np.ndarray]) -> None:
    vertices, faces = head

    def ours() -> int:
        return sum(
            shade_grey(raycast(vertices, faces, SIZE_PX, SIZE_PX)).any() for _ in range(HEADS)
        )

    def bare() -> int:
        return sum(plain_picture(vertices, faces).any() for _ in range(HEADS))

    covered = shade_grey(raycast(vertices, faces, SIZE_PX, SIZE_PX)).any(-1)
    assert (covered == plain_picture(vertices, faces).any(-1)).mean() > 0.99  # the same head
    found = compare(f"geometry, {SIZE_PX} px, FLAME-sized", "faces", ours, bare, rounds=5)
    print(f"{1e3 * found.ours_s / HEADS:.1f} ms a face, {cpu_ms(ours) / HEADS:.1f} ms of them work")
    print(f"wanted: under {LIMIT_MS:g} ms a face on one core")


def test_detail_picture(tmp_path_factory: pytest.TempPathFactory) -> None:
    """With a displacement map's normals, EMOCA's geometry_detail; beside its coarse picture."""
    folder = write_flame_model(tmp_path_factory.mktemp("flame"))
    template, detail = load_head_template(folder), DetailGeometry.load(folder)
    scale = SIZE_PX / 0.26
    image = template.vertices * [scale, -scale, scale] + [SIZE_PX / 2, SIZE_PX / 2, 0]
    points = torch.tensor(template.vertices[None], dtype=torch.float32)
    bump = 0.002 * torch.randn(1, 1, 256, 256, generator=torch.manual_seed(0))

    def coarse() -> int:
        rasters = [raycast(image, template.faces, SIZE_PX, SIZE_PX) for _ in range(HEADS)]
        return sum(to_pixels(shade_geometry(r.normals, r.hit)).any() for r in rasters)

    def fine() -> int:
        drawn = 0
        for _ in range(HEADS):
            raster = raycast(image, template.faces, SIZE_PX, SIZE_PX)
            surface = FlameSurface(detail.atlas, detail.normals(points, bump)[0])
            drawn += to_pixels(shade_geometry(surface.normals(raster), raster.hit)).any()
        return drawn

    found = compare(f"detail, {SIZE_PX} px, against coarse", "faces", fine, coarse)
    print(f"{1e3 * found.ours_s / HEADS:.1f} ms a face with detail")
