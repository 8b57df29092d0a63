"""Brows drawn on plain skin are found at the height where they were drawn."""

from __future__ import annotations

import numpy as np
import pytest

from sfe_core.faces.detectors.brow_refinement import refine_brows
from sfe_core.faces.head import HeadModel

SIZE, UNIT = 400, 160.0  # the outer eye corners lie UNIT pixels apart


def upright_points() -> np.ndarray:
    flat = HeadModel.load().landmarks()[0][:, :2] * (1.0, -1.0)
    flat = flat / np.linalg.norm(flat[45] - flat[36])
    return flat * UNIT + (200.0, 220.0)


def painted(raise_px: float, dark: int = 70) -> np.ndarray:
    """Skin with a dark band through each brow, raised by some pixels."""
    image = np.full((SIZE, SIZE, 3), 190, np.uint8)
    points = upright_points()
    rows = np.arange(SIZE)[:, None] + 0.5
    for brow in (points[17:22], points[22:27]):
        columns = np.arange(round(brow[0, 0]) - 6, round(brow[-1, 0]) + 6)
        middle = np.interp(columns + 0.5, brow[:, 0], brow[:, 1]) - raise_px
        image[:, columns] = np.where((np.abs(rows - middle) < 6)[..., None], dark, 190)
    return image


@pytest.mark.parametrize("raise_px", [-6.0, 8.0, 16.0])
def test_points_move_onto_the_band(raise_px: float) -> None:
    points = upright_points()
    at_rest = refine_brows(painted(0.0), points)
    moved = refine_brows(painted(raise_px), points)
    change = (moved - at_rest)[17:27]
    assert np.abs(change[:, 1] + raise_px).max() < 4.0
    assert np.abs(change[:, 0]).max() < 0.01


def test_a_turned_face_moves_along_its_own_vertical() -> None:
    points = upright_points()
    image = np.rot90(painted(12.0), 1).copy()  # a quarter anticlockwise: (x, y) -> (y, S - x)
    turned = np.stack([points[:, 1], SIZE - points[:, 0]], axis=1)
    upright = refine_brows(painted(12.0), points)
    back = refine_brows(image, turned)
    assert np.allclose(np.stack([SIZE - back[:, 1], back[:, 0]], axis=1), upright, atol=1.5)


def test_without_contrast_and_elsewhere_nothing_moves() -> None:
    points = upright_points()
    assert np.array_equal(refine_brows(painted(10.0, dark=187), points), points)
    moved = refine_brows(painted(10.0), points)
    others = np.r_[0:17, 27:68]
    assert np.array_equal(moved[others], points[others])


def test_degenerate_landmarks_are_returned() -> None:
    points = np.full((68, 2), 50.0)
    assert np.array_equal(refine_brows(painted(0.0), points), points)
