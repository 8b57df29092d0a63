"""Crops: positions map both ways, pixels land where they belong, and can be put back."""

from __future__ import annotations

import numpy as np
import pytest

from sfe_core.errors import UserError
from sfe_core.faces.crop import CROP_RULES, CropTransform, crop, crop_around, crop_square, paste

SMOOTH = np.stack(
    np.broadcast_arrays(
        np.linspace(0, 250, 90)[:, None],
        np.linspace(0, 250, 120)[None, :],
        np.full((90, 120), 99.0),
    ),
    axis=-1,
).astype(np.uint8)


def test_points_go_there_and_back() -> None:
    transform = CropTransform(31.5, 40.25, 50.0)
    points = np.random.default_rng(0).uniform(-20, 120, (68, 2))
    assert np.allclose(transform.to_photo(transform.to_crop(points, 128), 128), points)
    assert np.allclose(transform.to_crop(transform.corner, 128), 0)


def test_whole_pixel_crop_is_a_slice() -> None:
    assert np.array_equal(crop(SMOOTH, CropTransform(50, 40, 32), 32), SMOOTH[24:56, 34:66])


def test_crop_follows_its_transform_at_another_scale() -> None:
    transform = CropTransform(60.3, 44.8, 40.0)
    cut = crop(SMOOTH, transform, 96)
    middle = transform.to_photo(np.array([[48.0, 48.0]]), 96)[0]
    expected = (middle[::-1] - 0.5) * (250 / 89, 250 / 119)
    assert np.abs(cut[47:49, 47:49, :2].astype(float).mean((0, 1)) - expected).max() < 1.5


def test_beyond_the_border_its_pixels_repeat() -> None:
    cut = crop(SMOOTH, CropTransform(0, 45, 40), 40)
    assert np.array_equal(cut[:, 0], cut[:, 19])


def test_paste_puts_a_crop_back() -> None:
    transform = CropTransform(50.4, 40.7, 37.0)
    blank = np.zeros_like(SMOOTH)
    for size in (20, 37, 128):
        back = paste(blank, crop(SMOOTH, transform, size), transform)
        inside = np.s_[26:56, 36:66]
        assert np.abs(back[inside].astype(int) - SMOOTH[inside]).max() <= 6
        assert (back[:20] == 0).all() and (back[:, 75:] == 0).all()
    assert (blank == 0).all()


def test_paste_respects_the_mask_and_the_border() -> None:
    white = np.full((64, 64, 3), 255, np.uint8)
    mask = np.zeros((64, 64), bool)
    mask[:, 32:] = True
    result = paste(SMOOTH, white, CropTransform(0, 0, 40), mask)
    assert (result[2:18, 2:18] == 255).all()
    assert np.array_equal(result[22:], SMOOTH[22:])
    outside = paste(SMOOTH, white, CropTransform(-500, -500, 40))
    assert np.array_equal(outside, SMOOTH)


@pytest.mark.parametrize("scale", [1.0, 1.5, 2.0])
def test_crop_around_holds_all_landmarks(scale: float) -> None:
    points = np.random.default_rng(1).uniform((40, 30), (90, 95), (68, 2))
    transform = crop_around(points, scale)
    assert transform.side == pytest.approx(scale * (points.max(0) - points.min(0)).max())
    if scale >= 1.5:
        inside = transform.to_crop(points, 1)
        assert (inside > 0).all() and (inside < 1).all()


# A box 80 wide, 100 high, and landmarks that span the same.
BOX = (20.0, 40.0, 100.0, 140.0)
SPANNED = np.array([[20.0, 90.0], [100.0, 40.0], [60.0, 140.0]])


@pytest.mark.parametrize(
    ("rule", "centre", "side"),
    [
        ("landmarks", (60.0, 90.0 - 10.0), 150.0),  # 1.5 of the larger extent
        ("emoca", (60.0, 90.0), 90.0 * 1.1 * 1.25),
        ("emoca-bbox", (60.0, 90.0 + 0.12 * 90.0), 90.0 * 1.25),
        ("face-alignment", (60.0, 90.0 - 0.12 * 100.0), 180.0 / 195.0 * 200.0),
    ],
)
def test_rules_of_the_field(rule: str, centre: tuple[float, float], side: float) -> None:
    square = crop_square(SPANNED, BOX, rule)
    assert (square.center_x, square.center_y) == pytest.approx(centre)
    assert square.side == pytest.approx(side)
    wider = crop_square(SPANNED, BOX, rule, 2 * CROP_RULES[rule].scale)
    assert wider.side == pytest.approx(2 * side)
    assert (wider.center_x, wider.center_y) == pytest.approx(centre)


def test_unknown_rules_name_the_known() -> None:
    with pytest.raises(UserError, match="landmarks, emoca, emoca-bbox, face-alignment"):
        crop_square(SPANNED, BOX, "kpt5")
