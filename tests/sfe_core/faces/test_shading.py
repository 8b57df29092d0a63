"""Shading against closed forms: scipy's harmonics, a lit sphere, lamps seen from the front."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import sph_harm_y

from sfe_core.faces.shading import (
    lambertian,
    sh_basis,
    sh_shading,
    shade_geometry,
    to_pixels,
)


@pytest.fixture
def normals() -> np.ndarray:
    drawn = np.random.default_rng(0).normal(size=(50, 3))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def real_harmonic(degree: int, order: int, normals: np.ndarray) -> np.ndarray:
    """Orthonormal real harmonic from scipy's complex ones, without the Condon-Shortley sign."""
    polar, around = np.arccos(normals[:, 2]), np.arctan2(normals[:, 1], normals[:, 0])
    value = sph_harm_y(degree, abs(order), polar, around)
    if order == 0:
        return value.real
    part = value.real if order > 0 else value.imag
    return (-1) ** order * np.sqrt(2) * part


def test_basis_is_the_real_harmonics_times_the_lambertian_kernel(normals: np.ndarray) -> None:
    bands = [(0, 0), (1, 1), (1, -1), (1, 0), (2, -2), (2, 1), (2, -1), (2, 2), (2, 0)]
    kernel = {0: 1.0, 1: 2 * np.pi / 3, 2: np.pi / 4}
    exact = [kernel[degree] * real_harmonic(degree, order, normals) for degree, order in bands]
    assert np.abs(sh_basis(normals) - np.stack(exact, -1)).max() < 1e-12


def test_a_directional_light_in_harmonics_lights_the_side_it_comes_from(
    normals: np.ndarray,
) -> None:
    """Coefficients of one lamp: the clamped cosine up to second order, π A_l Y_lm(lamp)."""
    lamp = np.array([0.6, 0.0, 0.8])
    basis = sh_basis(lamp[None])[0]
    kernel = np.array([1.0, *3 * [2 * np.pi / 3], *5 * [np.pi / 4]])
    light = np.repeat((basis / kernel)[:, None], 3, axis=1)
    light[0] *= np.pi  # the basis' constant band carries 1 for the kernel's π
    found = sh_shading(normals, light)
    exact = np.clip(normals @ lamp, 0, None)
    # Ramamoorthi and Hanrahan: second order is within 9 % of the cosine's peak everywhere.
    assert np.abs(found - exact[:, None]).max() < 0.09
    assert np.allclose(found[:, 0], found[:, 2])


def test_lambertian_is_albedo_times_light_inside_the_mesh_only() -> None:
    normals = np.zeros((2, 2, 3))
    normals[..., 2] = 1
    light = np.zeros((9, 3))
    light[0] = [1.0, 2.0, 3.0]
    hit = np.array([[True, False], [True, True]])
    found = lambertian(normals, np.full((2, 2, 3), 0.5), light, hit)
    assert np.allclose(found[0, 0], np.array([1, 2, 3]) / 2 / np.sqrt(4 * np.pi))
    assert not found[0, 1].any()


def test_geometry_lamps_on_a_surface_that_faces_the_viewer() -> None:
    normals = np.zeros((1, 2, 3), np.float32)
    normals[0, 0, 2], normals[0, 1, 2] = 1, -1
    found = shade_geometry(normals, np.array([[True, True]]))
    exact = 180 / 255 * 1.7 * (4 / np.sqrt(3) + 1) / 5
    assert found.dtype == np.float32 and np.allclose(found[0, 0], exact, atol=1e-6)
    assert not found[0, 1].any()  # lamps stand before the head
    assert not shade_geometry(normals, np.zeros((1, 2), bool)).any()


def test_geometry_is_lit_alike_from_left_and_right(normals: np.ndarray) -> None:
    hit = np.ones((1, len(normals)), bool)
    mirrored = shade_geometry(normals[None] * [-1, 1, 1], hit)
    assert np.allclose(mirrored, shade_geometry(normals[None], hit))


def test_pixels_are_rounded_and_clipped() -> None:
    found = to_pixels(np.array([-0.1, 0.0, 0.5, 1.0, 1.3]))
    assert found.dtype == np.uint8 and found.tolist() == [0, 0, 128, 255, 255]
