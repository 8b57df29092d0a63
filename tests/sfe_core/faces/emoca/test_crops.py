"""The encoders' picture against scikit-image's warp, which the public code calls."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.transform import SimilarityTransform, estimate_transform, warp

from sfe_core.arrays import Floats
from sfe_core.faces.emoca.crops import cut_input, input_square
from sfe_core.faces.emoca.encoders import weak_perspective


def published_transform(landmarks: Floats) -> SimilarityTransform:
    """Photo indices (pixel centres at whole numbers) to input indices, by the public rule."""
    indices = landmarks - 0.5
    (left, top), (right, bottom) = indices.min(0), indices.max(0)
    size = int((right - left + bottom - top) / 2 * 1.1 * 1.25)
    x, y = (left + right) / 2, (top + bottom) / 2
    corners = [[x - size / 2, y - size / 2], [x - size / 2, y + size / 2]]
    corners.append([x + size / 2, y - size / 2])
    goals = np.array([[0, 0], [0, 223], [223, 0]])
    return estimate_transform("similarity", np.array(corners), goals)


# The last two squares reach over the photo's edges.
@pytest.mark.parametrize("place", [(150, 100, 180), (20, 190, 100), (330, 10, 140)])
def test_the_picture_is_the_published_one(place: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(1)
    photo = rng.integers(0, 256, (300, 400, 3), dtype=np.uint8)
    x, y, extent = place
    landmarks = rng.uniform([x, y], [x + extent, y + extent], (68, 2))
    turned = published_transform(landmarks)
    expected = warp(photo / 255.0, turned.inverse, output_shape=(224, 224)).transpose(2, 0, 1)
    found = cut_input(photo, input_square(landmarks))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_camera_lands_where_the_network_says() -> None:
    rng = np.random.default_rng(2)
    landmarks = rng.uniform([60, 40], [220, 230], (68, 2))
    points = rng.uniform(-0.1, 0.1, (50, 3)).astype(np.float32)
    cam, origin = np.array([8.0, 0.02, -0.03], np.float32), np.array([0.0, 0.03, 0.05])
    in_input = weak_perspective(torch.tensor(points)[None], torch.tensor(cam)[None])[0].numpy()
    # [-1, 1] spans the input from edge to edge; its pixel n has its centre at index n.
    indices = (in_input[:, :2] + 1) * 112 - 0.5
    expected = published_transform(landmarks).inverse(indices) + 0.5
    camera = input_square(landmarks).camera(cam, origin)
    projected = camera.project(points - origin)
    np.testing.assert_allclose(projected[:, :2], expected, atol=1e-3)
    nearness = -in_input[:, 2] * 112 * input_square(landmarks).step
    apart = projected[:, 2] + camera.scale * origin[2] - nearness
    np.testing.assert_allclose(apart, 0, atol=1e-3)
