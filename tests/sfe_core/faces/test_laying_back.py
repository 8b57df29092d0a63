"""Crops laid back into their photos: in their place, without a seam, nothing else touched."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from sfe_core.faces.crop import CropTransform, crop
from sfe_core.faces.laying_back import EDGE, lay_back

BLACK, WHITE = np.zeros((90, 120, 3), np.uint8), np.full((32, 32, 3), 255, np.uint8)
SQUARES = [
    CropTransform(58.4, 43.7, 50.0),
    CropTransform(58.4, 43.7, 50.0, 33.0),
    CropTransform(58.4, 43.7, 50.0, 90.0),
    CropTransform(20.0, 70.3, 60.0),
    CropTransform(20.0, 70.3, 60.0, -17.0),
]


def within(square: CropTransform) -> np.ndarray:
    """[90, 120, 2] where each pixel of the photo lies in the square, 0 to 1."""
    y, x = np.mgrid[:90, :120] + 0.5
    return square.to_crop(np.stack([x, y], axis=-1), 1)


@pytest.mark.parametrize("square", SQUARES)
def test_pixels_outside_are_the_photos_to_the_bit(square: CropTransform) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (90, 120, 3)).astype(np.uint8)
    before = photo.copy()
    laid = lay_back(photo, WHITE, square)
    place = within(square)
    outside = ((place < 0) | (place > 1)).any(axis=2)
    assert outside.any() and np.array_equal(laid[outside], before[outside])
    assert np.array_equal(photo, before)
    inner = ((place > EDGE + 0.01) & (place < 1 - EDGE - 0.01)).all(axis=2)
    assert (laid[inner] == 255).all()


@pytest.mark.parametrize("square", SQUARES[:3])
@pytest.mark.parametrize("edge", [0.1, 0.3])
def test_the_edge_fades_steadily_and_all_round(square: CropTransform, edge: float) -> None:
    laid = lay_back(BLACK, WHITE, square, edge=edge)[..., 0].astype(int)
    place = within(square)
    depth = np.minimum(place, 1 - place).min(axis=2)
    order = np.argsort(depth, axis=None)
    # The deeper, the more of the picture, whatever the side: the same share at the same depth.
    assert (np.diff(laid.ravel()[order]) >= 0).all()
    rising = (depth > 0) & (depth < edge)
    assert len(np.unique(laid[rising])) > 10
    # From pixel to pixel no step is larger than the slope of the fade, 1.5 over its width.
    steepest = 255 * 1.5 / (edge * square.side) * np.sqrt(2) + 1
    assert max(np.abs(np.diff(laid, axis=axis)).max() for axis in (0, 1)) <= steepest


@pytest.mark.parametrize("square", SQUARES)
@pytest.mark.parametrize("size", [20, 64, 200])
def test_the_crop_itself_changes_nothing_that_can_be_seen(square: CropTransform, size: int) -> None:
    y, x = np.mgrid[:90, :120]
    smooth = np.stack([y * 2.5, x * 2.0, 120 + 60 * np.sin(x / 19) * np.cos(y / 23)], axis=-1)
    photo = smooth.round().astype(np.uint8)
    laid = lay_back(photo, crop(photo, square, size), square)
    assert np.abs(laid.astype(int) - photo).max() <= (10 if size == 20 else 5)


def test_an_edge_beyond_the_photo_does_not_fade() -> None:
    corner = lay_back(BLACK, WHITE, CropTransform(20.0, 15.0, 60.0))[..., 0]
    assert (corner[:40, :45] == 255).all(), "left and top of the square are outside"
    assert corner[44, 20] < 60 and corner[20, 49] < 60 and (corner[46:] == 0).all()
    whole = lay_back(np.zeros((64, 64, 3), np.uint8), WHITE, CropTransform(32.0, 32.0, 64.0))
    assert (whole == 255).all(), "the photo is the square"
    # A corner of a turned square that just looks into the photo still fades.
    turned = lay_back(BLACK, WHITE, CropTransform(60.0, -30.0, 60.0, 45.0))[..., 0]
    assert (turned[13:] == 0).all() and len(np.unique(turned[:13, 60])) > 4
    for away in (CropTransform(-500.0, -500.0, 40.0), CropTransform(500.0, 20.0, 40.0, 12.0)):
        assert (lay_back(BLACK, WHITE, away) == 0).all()


def test_what_is_kept_is_the_photos_and_grows_without_blocks() -> None:
    kept = np.zeros((8, 8))
    kept[:, :3] = 1.0
    square = CropTransform(60.0, 45.0, 80.0)
    photo = np.random.default_rng(1).integers(0, 40, (90, 120, 3)).astype(np.uint8)
    laid = lay_back(photo, WHITE, square, kept)
    place = within(square)
    assert np.array_equal(laid[place[..., 0] < 0.25], photo[place[..., 0] < 0.25])
    row = lay_back(BLACK, WHITE, square, kept)[45, 20:94, 0].astype(int)
    assert (np.diff(row) >= 0).all() and np.diff(row).max() < 50
    assert len(np.unique(row)) > 8, "8 shares over 80 pixels, resampled smoothly"


def test_turned_pictures_stand_as_their_square() -> None:
    picture = np.asarray(Image.fromarray(WHITE[..., 0] * 0))[..., None].repeat(3, axis=2).copy()
    picture[:16] = 255  # the upper half of the crop
    square = CropTransform(58.4, 43.7, 50.0, 90.0)
    laid = lay_back(BLACK, picture, square)[..., 0]
    # Turned clockwise by a quarter, its top lies to the right.
    assert laid[44, 75] == 255 and laid[44, 42] == 0
