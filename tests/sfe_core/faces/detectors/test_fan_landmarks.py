"""FAN's landmarks: cutting and reading beside the library's, and sub-pixel positions."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
import torch
from face_alignment import utils

from sfe_core.faces.detectors.fan_landmarks import (
    FanLandmarks,
    fan_input,
    fan_window,
    heatmap_peaks,
)

PHOTO = skimage.data.astronaut()
BOXES = [(180.0, 60.0, 270.0, 165.0), (10.3, 5.7, 80.9, 70.2), (400.0, 300.0, 560.0, 490.0)]


def library_frame(box: tuple[float, ...]) -> tuple[np.ndarray, float]:
    """Centre and scale as the library's `get_landmarks_from_image` has them."""
    left, top, right, bottom = box
    centre = np.array([right - (right - left) / 2, bottom - (bottom - top) / 2])
    centre[1] -= (bottom - top) * utils.CENTER_Y_OFFSET
    return centre, (right - left + bottom - top) / utils.REFERENCE_SCALE


@pytest.mark.parametrize("box", BOXES)
def test_the_view_is_the_librarys(box: tuple[float, float, float, float]) -> None:
    centre, scale = library_frame(box)
    theirs = utils.crop(PHOTO, centre, scale)
    ours = fan_input(PHOTO, fan_window(box)).transpose(1, 2, 0) * 255
    assert theirs.std() > 20
    # Where the box is cut by the photo's border the library keeps one row or column less.
    assert (
        np.mean(np.abs(ours - theirs).max(axis=2) > 1) < (0.0 if box == BOXES[0] else 0.02) + 1e-9
    )


@pytest.mark.slow
def test_the_peaks_are_the_librarys() -> None:
    maps = np.random.default_rng(0).random((2, 68, 64, 64)).astype(np.float32)
    maps[0, 3, 0, 20] = maps[0, 4, 63, 63] = 2.0  # at the rim nothing is moved
    theirs, _, _ = utils.get_preds_fromhm(maps, np.zeros(2), 1.0)
    assert np.allclose(heatmap_peaks(maps) * 64, theirs)


class DotNetwork(torch.nn.Module):
    """Every heat map shows where the view is red."""

    def forward(self, views: torch.Tensor) -> torch.Tensor:
        red = (views[:, :1] - views[:, 1:2]).clamp(min=0)
        maps = torch.nn.functional.avg_pool2d(red, 4)
        blurred = torch.nn.functional.avg_pool2d(maps, 5, 1, 2)
        return blurred.expand(-1, 68, -1, -1)


@pytest.mark.slow
@pytest.mark.parametrize("side", [60.0, 150.0, 900.0])
def test_a_dot_is_found_where_it_is(side: float) -> None:
    size = int(side * 3)
    errors = []
    for place in np.random.default_rng(1).uniform(0.35, 0.65, (6, 2)) * side + side:
        y, x = np.mgrid[:size, :size] + 0.5
        distance = np.hypot(x - place[0], y - place[1])
        photo = np.zeros((size, size, 3), np.uint8)
        photo[..., 0] = 255 * np.exp(-((distance / (0.05 * side)) ** 2))
        box = (side, side, 2 * side, 2 * side)
        found = FanLandmarks(DotNetwork(), "cpu").find_many([photo], [box])
        assert found.shape == (1, 68, 2) and np.ptp(found, axis=1).max() == 0
        errors.append(found[0, 0] - place)
    # A heat map's cell is side × 2 × 200 / 195 / 64; the quarter rule leaves a quarter of it.
    cell = side * 2 * 200 / 195 / 64
    assert np.abs(errors).max() < 0.5 * cell
    assert np.abs(np.mean(errors, axis=0)).max() < 0.2 * cell


def test_company_and_batch_change_no_bit() -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 7, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(16, 68, 3, 1, 1)
    ).eval()
    finder = FanLandmarks(network, "cpu", 4)
    photos = [PHOTO] * len(BOXES)
    together = finder.find_many(photos, BOXES)
    assert len(np.unique(together)) > 50
    for place, box in enumerate(BOXES):
        assert np.array_equal(finder.find_many([PHOTO], [box])[0], together[place])
    assert finder.find_many([], []).shape == (0, 68, 2)
