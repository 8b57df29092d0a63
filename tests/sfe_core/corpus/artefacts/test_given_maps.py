"""Renders that came with the photos: found by key, brought to the photo's size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sfe_core.corpus.artefacts.given_maps import given_mesh_path, given_mesh_sha256, read_given_mesh
from sfe_core.errors import RunError
from sfe_core.files import sha256_file


def write_render(corpus: Path, key: str, pixels: np.ndarray) -> Path:
    path = given_mesh_path(corpus, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def test_a_render_of_the_photos_size_is_read_as_it_is(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    path = write_render(tmp_path / "corpus", "a/b.c", pixels)
    assert path == tmp_path / "maps" / "geometry_detail" / "a" / "b.c.png"
    assert np.array_equal(read_given_mesh(tmp_path / "corpus", "a/b.c", 30, 20), pixels)
    assert given_mesh_sha256(tmp_path / "corpus", "a/b.c") == sha256_file(path)


def test_another_size_is_stretched_and_grey_becomes_rgb(tmp_path: Path) -> None:
    grey = np.zeros((10, 10), np.uint8)
    grey[:, 5:] = 200
    write_render(tmp_path / "corpus", "a", grey)
    mesh = read_given_mesh(tmp_path / "corpus", "a", 40, 20)
    assert mesh is not None and mesh.shape == (20, 40, 3)
    assert (mesh[:, :16] == 0).all() and (mesh[:, 24:] == 200).all()


def test_without_one_there_is_none(tmp_path: Path) -> None:
    assert read_given_mesh(tmp_path / "corpus", "a", 4, 4) is None
    assert given_mesh_sha256(tmp_path / "corpus", "a") == ""


def test_a_torn_render_is_named(tmp_path: Path) -> None:
    path = write_render(tmp_path / "corpus", "a", np.zeros((4, 4, 3), np.uint8))
    path.write_bytes(b"torn")
    with pytest.raises(RunError, match="a.png.*import it again"):
        read_given_mesh(tmp_path / "corpus", "a", 4, 4)
