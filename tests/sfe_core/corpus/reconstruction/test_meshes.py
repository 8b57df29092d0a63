"""Meshes in files of other programs: same vertices, colours, and normals beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh

from sfe_core.corpus.reconstruction.meshes import vertex_albedo, write_mesh
from sfe_core.faces.reconstruction import Reconstruction
from sfe_core.faces.rendering import Camera, Raster

# A tetrahedron; the first vertex belongs to no face.
VERTICES = np.array([[9, 9, 9], [0, 0, 0], [0.1, 0, 0], [0, 0.1, 0], [0, 0, 0.1234567]], np.float32)
FACES = np.array([[1, 3, 2], [1, 2, 4], [2, 3, 4], [3, 1, 4]], np.int32)


class _Painted:
    """Each face's corners have the values 10 · face + corner."""

    light = None

    def albedo(self, raster: Raster) -> np.ndarray:
        places = raster.face_index * 10 + raster.barycentric @ np.arange(3)
        return np.where(raster.hit[..., None], np.repeat(places[..., None], 3, axis=-1), 0)


def head(surface: object) -> Reconstruction:
    camera = Camera(np.eye(3), 1.0, np.zeros(2))
    return Reconstruction(VERTICES, FACES, camera, (0, 0, 0), 0.0, np.zeros((68, 2)), {}, surface)  # type: ignore[arg-type]


def test_a_vertexs_colour_is_that_of_a_corner_of_its_own() -> None:
    albedo = vertex_albedo(head(_Painted()))
    assert albedo is not None and albedo.shape == (5, 3)
    assert (albedo[0] == 0).all()
    for vertex in range(1, 5):
        face, corner = divmod(int(albedo[vertex, 0]), 10)
        assert FACES[face, corner] == vertex
    assert vertex_albedo(head(None)) is None


@pytest.mark.parametrize("suffix", [".obj", ".glb"])
def test_files_hold_the_used_vertices_in_their_order_and_the_same_faces(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / "deep" / f"a{suffix}"
    albedo = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0.5]])
    write_mesh(path, VERTICES, FACES, albedo)
    first = path.read_bytes()
    write_mesh(path, VERTICES, FACES, albedo)
    assert path.read_bytes() == first
    mesh = trimesh.load_mesh(path, process=False)
    assert np.abs(mesh.vertices - VERTICES[1:]).max() < 1e-7
    assert np.array_equal(mesh.faces, FACES - 1)
    # glTF's colours are linear: sRGB's middle grey is 0.214 there.
    grey = 55 if suffix == ".glb" else 128
    assert mesh.visual.vertex_colors[:, :3].tolist() == [
        [255, 0, 0], [0, 255, 0], [0, 0, 255], [grey, grey, grey],
    ]  # fmt: skip
    assert b"NORMAL" in first if suffix == ".glb" else first.startswith(b"# made by sfe\nv ")


def test_without_colours_there_are_none(tmp_path: Path) -> None:
    write_mesh(tmp_path / "a.glb", VERTICES, FACES)
    assert b"COLOR_0" not in (tmp_path / "a.glb").read_bytes()
