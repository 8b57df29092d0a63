"""Light and colour fitted to photos whose light and colour are known."""

from __future__ import annotations

import numpy as np
import pytest

from sfe_core.faces.anny.fitted_surface import FittedSurface, fit_light
from sfe_core.faces.head import REGION, HeadModel
from sfe_core.faces.rendering import Camera, Raster, raycast, rotation_matrix
from sfe_core.faces.shading import sh_basis, sh_shading

SKIN, LIPS = np.array([0.75, 0.55, 0.45]), np.array([0.6, 0.25, 0.25])


def half_sphere(count: int = 4000) -> np.ndarray:
    """Normals [P, 3] towards the viewer."""
    normals = np.random.default_rng(0).normal(size=(count, 3))
    normals[:, 2] = np.abs(normals[:, 2])
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


def side_light() -> np.ndarray:
    """A light [9, 3] from the left and above, a little warmer than even."""
    light = np.zeros((9, 3))
    light[0] = (3.2, 3.0, 2.8)
    light[1], light[2], light[3] = -0.35, 0.3, 0.25
    return light


def test_known_light_and_colour_are_found_among_outliers() -> None:
    basis = sh_basis(half_sphere())
    pixels = SKIN * (basis @ side_light())
    pixels[::10] = 0.05  # hair
    light, colour = fit_light(basis, pixels)
    shading = basis @ light
    mean = (basis @ side_light()).mean(axis=0)
    clean = np.arange(len(basis)) % 10 > 0
    assert shading.mean(axis=0) == pytest.approx(np.ones(3))
    assert np.allclose(colour, SKIN * mean, rtol=0.06)
    assert np.abs(colour * shading - pixels)[clean].max() < 0.08
    assert np.abs(colour * shading - pixels)[clean].mean() < 0.02


def test_without_pixels_the_light_is_even() -> None:
    light, colour = fit_light(np.zeros((0, 9)), np.zeros((0, 3)))
    assert np.allclose(sh_shading(half_sphere(50), light), 1.0) and np.allclose(colour, 0.5)
    dark, black = fit_light(sh_basis(half_sphere(50)), np.zeros((50, 3)))
    assert np.allclose(dark, light) and (black == 0).all()


@pytest.fixture(scope="module")
def scene() -> tuple[FittedSurface, Raster, np.ndarray]:
    """A head painted and lit, its fitted surface, its raster and the painted parts' colours."""
    head = HeadModel.load()
    camera = Camera(rotation_matrix(15, 5, 0), 900.0, np.array([150.0, 140.0]))
    points = head.vertices()[0]
    raster = raycast(camera.project(points), head.faces, 300, 300)
    colours = np.tile(SKIN, (int(head.face_region.max()) + 1, 1))
    colours[REGION["lips"]] = LIPS
    colours[REGION["eyeball"]] = 0.9
    painted = colours[head.face_region[raster.face_index]] * raster.hit[..., None]
    photo = painted * sh_shading(raster.normals, side_light())
    landmarks = camera.project(head.landmarks()[0])[:, :2]
    photo = (photo.clip(0, 1) * 255).round().astype(np.uint8)
    surface = FittedSurface(photo, points, head.faces, head.face_region, camera, landmarks)
    return surface, raster, painted


def test_the_render_explains_the_photo(scene: tuple[FittedSurface, Raster, np.ndarray]) -> None:
    surface, raster, painted = scene
    ours = surface.albedo(raster) * sh_shading(raster.normals, surface.light)
    true = painted * sh_shading(raster.normals, side_light())
    front = raster.hit & (raster.normals[..., 2] > 0.3) & (true.max(axis=2) < 1)
    assert np.abs(ours - true)[front].mean() < 0.03
    assert np.array_equal(surface.normals(raster), raster.normals)


def test_parts_have_their_own_colours(scene: tuple[FittedSurface, Raster, np.ndarray]) -> None:
    surface, raster, _ = scene
    albedo = surface.albedo(raster)
    assert (albedo[~raster.hit] == 0).all() and albedo.min() >= 0 and albedo.max() <= 1
    region = HeadModel.load().face_region[raster.face_index]
    skin, lips, eye = (
        albedo[raster.hit & (region == REGION[name])][0] for name in ("skin", "lips", "eyeball")
    )
    assert skin[0] / skin[2] == pytest.approx(SKIN[0] / SKIN[2], rel=0.15)
    assert lips[0] / lips[1] > 1.5 * skin[0] / skin[1]
    assert eye.min() > skin.min()
