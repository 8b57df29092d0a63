"""The unwrapping: parsing, vertex values to maps and maps to pixels, against closed forms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sfe_core.errors import UserError
from sfe_core.faces.flame.parameters import load_flame
from sfe_core.faces.flame.uv import HeadTemplate, UvAtlas, load_head_template, rasterize_uv
from sfe_core.faces.rendering import raycast
from tests.flame_files import FACES, UV_VERTICES, VERTICES


@pytest.fixture(scope="module")
def template(flame_folder: Path) -> HeadTemplate:
    return load_head_template(flame_folder)


@pytest.fixture(scope="module")
def atlas(template: HeadTemplate) -> UvAtlas:
    return UvAtlas(template)


def square(**changes: object) -> HeadTemplate:
    """Two triangles whose unwrapping is the whole UV square."""
    corners = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], float)  # u, v, clockwise from upper left
    faces = np.array([[0, 2, 1], [0, 3, 2]], np.int32)
    parts = {"vertices": np.c_[corners, np.zeros(4)], "faces": faces, "uv": corners}
    return HeadTemplate(**{**parts, "uv_faces": faces, **changes})


def test_template_has_flames_faces_and_its_own_texture_numbers(
    template: HeadTemplate, flame_folder: Path
) -> None:
    assert template.vertices.shape == (VERTICES, 3) and template.uv.shape == (UV_VERTICES, 2)
    assert template.faces.shape == template.uv_faces.shape == (FACES, 3)
    stored = {tuple(face) for face in load_flame(flame_folder).faces.tolist()}
    assert {tuple(face) for face in template.faces.tolist()} == stored
    assert (template.faces != template.uv_faces).any()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "not a mesh of textured triangles"),
        ("v 0 0 0\nvt 0 0\nf 1/1 1/1 1/1 1/1\n", "not a mesh of textured triangles"),
        ("v 0 0 0\nvt 0 0\nf 1/1 1/1 2/1\n", "beyond its 1 points"),
        ("v 0 0 0\nvt 0 0\nf 1/x 1/1 1/1\n", "not a mesh of textured triangles"),
        ("", "not a mesh of textured triangles"),
    ],
)
def test_a_mesh_without_texture_is_refused(tmp_path: Path, text: str, found: str) -> None:
    path = tmp_path / "head_template.obj"
    path.write_text(text)
    with pytest.raises(UserError, match=found):
        load_head_template(path)


def test_normal_indices_in_the_faces_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "head_template.obj"
    path.write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 0 1\nf 1/3/7 2/1/8 3/2/9\n")
    found = load_head_template(path)
    assert found.faces.tolist() == [[0, 1, 2]] and found.uv_faces.tolist() == [[2, 0, 1]]


def test_map_pixels_are_centres_with_v_upwards() -> None:
    atlas = UvAtlas(square(), size=8)
    assert atlas.inside.all()
    values = torch.tensor([[[0.0, 1], [1, 1], [1, 0], [0, 0]]])  # u and v as vertex values
    centres = (torch.arange(8) + 0.5) / 8
    u, v = atlas.to_uv(values)[0]
    assert torch.allclose(u, centres.expand(8, 8), atol=1e-6)
    assert torch.allclose(v, (1 - centres)[:, None].expand(8, 8), atol=1e-6)


def test_the_first_face_wins_where_the_unwrapping_overlaps() -> None:
    twice = square()
    doubled = square(
        faces=np.concatenate([twice.faces, twice.faces[::-1]]),
        uv_faces=np.concatenate([twice.uv_faces, twice.uv_faces[::-1]]),
    )
    alone, _ = rasterize_uv(twice, 16)
    both, weights = rasterize_uv(doubled, 16)
    assert (alone == both).all() and np.allclose(weights.sum(-1), 1)


def test_template_positions_come_back_from_the_map(template: HeadTemplate, atlas: UvAtlas) -> None:
    """A pixel's point on the mesh lies on the face it names, to float32's last digits."""
    points = torch.tensor(template.vertices[None], dtype=torch.float32)
    found = atlas.to_uv(points)[0].permute(1, 2, 0).numpy()[atlas.inside.numpy()]
    index, weights = rasterize_uv(template, 256)
    inside = index >= 0
    assert (inside == atlas.inside.numpy()).all() and 0.5 < inside.mean() < 0.7  # π · 0.46²
    exact = np.einsum(
        "pkc,pk->pc", template.vertices[template.faces[index[inside]]], weights[inside]
    )
    assert np.abs(found - exact).max() < 1e-7
    assert weights[inside].min() > -1e-5
    assert not atlas.to_uv(points)[0][:, ~atlas.inside].any()


def test_to_uv_is_linear_and_keeps_batches_apart(atlas: UvAtlas) -> None:
    draw = torch.Generator().manual_seed(0)
    one, two = torch.randn(2, 1, VERTICES, 3, generator=draw)
    together = atlas.to_uv(torch.cat([one, two]))
    assert torch.equal(together[:1], atlas.to_uv(one)) and torch.equal(
        together[1:], atlas.to_uv(two)
    )
    assert torch.allclose(atlas.to_uv(2 * one + two), 2 * together[:1] + together[1:], atol=1e-5)


def test_a_map_of_positions_sampled_on_pixels_gives_their_positions(
    template: HeadTemplate, atlas: UvAtlas
) -> None:
    """Through the map and back: bilinear sampling of V(u) at a pixel is the pixel's own point."""
    scale = 200 / 0.26
    image = (template.vertices * [scale, -scale, scale] + [100, 100, 0]).astype(np.float32)
    raster = raycast(image, template.faces, 200, 200)
    positions = atlas.to_uv(torch.tensor(image[None]))[0]
    found = atlas.sample(positions, raster)
    rows, columns = np.nonzero(raster.hit)
    towards = raster.normals[raster.hit][:, 2] > 0.5
    off = np.abs(found[raster.hit][:, :2] - np.stack([columns, rows], 1) - 0.5)[towards]
    assert off.max() < 0.1 and off.mean() < 0.01  # pixels
    assert not found[~raster.hit].any()
    assert (atlas.grid(raster)[~raster.hit] == -2).all()
