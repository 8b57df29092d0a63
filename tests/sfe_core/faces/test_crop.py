"""Crops: positions map both ways, pixels land where they belong, and can be put back."""

from __future__ import annotations

import numpy as np
import pytest

from sfe_core.errors import UserError
from sfe_core.faces.crop import (
    CROP_RULES,
    CropTransform,
    crop,
    crop_around,
    crop_square,
    paste,
    paste_values,
)
from sfe_core.faces.crop_choice import crop_photo, fills_photo, invented_share
from sfe_core.faces.detection import Face
from sfe_core.faces.detectors.turning import Turn

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
    with pytest.raises(UserError, match="landmarks, emoca, emoca-bbox, face-alignment, as-is"):
        crop_square(SPANNED, BOX, "kpt5")


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_quarter_turned_crop_is_the_turned_photos(quarters: int) -> None:
    upright = CropTransform(52.3, 41.9, 37.0)
    photo = np.ascontiguousarray(np.rot90(SMOOTH, -quarters))
    turn = Turn(90.0 * quarters, photo.shape[1], photo.shape[0])
    x, y = turn.to_photo(np.array([upright.center_x, upright.center_y]))
    turned = CropTransform(x, y, 37.0, turn.angle)
    assert np.array_equal(turn.picture(photo), SMOOTH)
    assert np.array_equal(crop(photo, turned, 64), crop(SMOOTH, upright, 64))


@pytest.mark.parametrize("angle", [-130.0, -17.0, 33.0, 90.0, 180.0])
def test_turned_crops_map_both_ways_and_are_put_back(angle: float) -> None:
    transform = CropTransform(58.4, 43.7, 37.0, angle)
    points = np.random.default_rng(0).uniform(-20, 120, (68, 2))
    assert np.allclose(transform.to_photo(transform.to_crop(points, 128), 128), points)
    # Upright in the crop is turned clockwise in the photo.
    up = transform.to_photo(np.array([[32.0, 32.0], [32.0, 0.0]]), 64)
    leaning = np.rad2deg(np.arctan2(*((up[1] - up[0]) * (1, -1))))
    assert (leaning - angle + 180) % 360 - 180 == pytest.approx(0, abs=1e-6)
    y, x = np.mgrid[:90, :120] + 0.5
    inner = (np.hypot(x - 58.4, y - 43.7) < 16)[..., None]
    for size in (20, 37, 128):
        back = paste(np.zeros_like(SMOOTH), crop(SMOOTH, transform, size), transform)
        assert np.abs(back.astype(int) - SMOOTH)[inner.repeat(3, axis=2)].max() <= 6
        values = crop(SMOOTH[..., 0].astype(np.float32), transform, size)
        placed = paste_values((90, 120), values, transform)
        assert np.abs(placed - SMOOTH[..., 0])[inner[..., 0]].max() <= 6
        share = (placed > 0).sum() / transform.side**2
        assert share == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("rule", CROP_RULES)
@pytest.mark.parametrize("angle", [180.0, -70.0])
def test_the_square_of_a_turned_face_is_turned_with_it(rule: str, angle: float) -> None:
    points = np.random.default_rng(1).uniform((40, 30), (90, 95), (68, 2))
    upright = Face((38.0, 25.0, 92.0, 99.0), points, 1.0)
    turn = Turn(angle, 150, 140)
    canvas = turn.face_to_canvas(turn.face_to_photo(upright))
    square = crop_square(points, upright.box, rule)
    face = turn.face_to_photo(upright)
    turned = crop_square(face.landmarks, face.box, rule, angle=face.angle)
    assert np.allclose(canvas.landmarks, points, atol=1e-4)
    assert np.allclose(canvas.box, upright.box)
    assert turned.side == pytest.approx(square.side, rel=1e-5) and turned.angle == angle
    there = turn.to_canvas(np.array([turned.center_x, turned.center_y]))
    assert np.allclose(there, (square.center_x, square.center_y), atol=1e-3)


@pytest.mark.parametrize(
    ("square", "share"),
    [
        (CropTransform(60, 45, 80), 0.0),
        (CropTransform(45, 45, 90), 0.0),  # as large as the photo is high
        (CropTransform(0, 45, 90), 0.5),
        (CropTransform(0, 0, 90), 0.75),
        (CropTransform(60, 45, 240), 1 - 90 * 120 / 240**2),
        (CropTransform(-500, 45, 90), 1.0),
    ],
)
def test_invented_border_is_the_share_beyond_the_photo(square: CropTransform, share: float) -> None:
    assert invented_share(square, 120, 90) == pytest.approx(share, abs=1e-12)
    # And where the crop repeats its border, its pixels show it.
    size = 240
    ramp = np.zeros((90, 120, 3), np.uint8) + 7
    cut = crop(np.pad(ramp, ((300, 300), (300, 300), (0, 0))), moved(square, 300), size)
    assert (cut[..., 0] == 0).mean() == pytest.approx(share, abs=0.02)


def moved(square: CropTransform, by: float) -> CropTransform:
    return CropTransform(square.center_x + by, square.center_y + by, square.side)


@pytest.mark.parametrize("rule", [rule for rule in CROP_RULES if rule != "as-is"])
def test_a_photo_with_room_round_the_face_is_cropped_by_the_rule(rule: str) -> None:
    square, used = crop_photo(SPANNED, BOX, (300, 300), rule)
    assert (square, used) == (crop_square(SPANNED, BOX, rule), rule)
    # Nor does a face at the photo's edge make it a crop, though half of the square lies beyond.
    at_edge = SPANNED - (60, 0)
    box = (-40.0, 40.0, 40.0, 140.0)
    assert crop_photo(at_edge, box, (300, 300), rule) == (crop_square(at_edge, box, rule), rule)


@pytest.mark.parametrize("side", [48, 100, 224])
def test_a_photo_that_the_face_fills_is_taken_as_it_is(side: int) -> None:
    face = (SPANNED - (10, 40)) * (side / 100)
    box = tuple(face.min(0)) + tuple(face.max(0))
    whole = CropTransform(side / 2, side / 2, side)
    assert crop_photo(face, box, (side, side)) == (whole, "as-is")
    extended, used = crop_photo(face, box, (side, side), tight_as_is=False)
    assert (extended, used) == (crop_square(face, box), "landmarks")
    assert invented_share(extended, side, side) > 0.5 and invented_share(whole, side, side) == 0
    photo = np.random.default_rng(0).integers(0, 256, (side, side, 3)).astype(np.uint8)
    assert np.array_equal(crop(photo, whole, side), photo)


@pytest.mark.parametrize(
    ("photo", "square"),
    [
        ((90, 90), (45, 45, 90)),  # whatever the face is
        ((400, 300), (150, 150, 300)),  # the middle of the face is at 60, 80: all to the left
        ((110, 300), (55, 80, 120)),  # the face is 100 high: nothing of it is cut off
        ((80, 100), (40, 50, 100)),  # nor is there more than the photo
    ],
)
def test_as_is_takes_the_square_with_the_face(photo: tuple[int, int], square: tuple) -> None:
    found, used = crop_photo(SPANNED, BOX, photo, "as-is")
    assert used == "as-is" and (found.center_x, found.center_y, found.side) == square


def test_a_little_beyond_the_photo_is_left_to_the_rule() -> None:
    assert not fills_photo(CropTransform(50, 50, 100), 100, 100)
    assert not fills_photo(CropTransform(50, 50, 105), 100, 100)  # 9 % beyond
    assert fills_photo(CropTransform(50, 50, 106), 100, 100)
    assert not fills_photo(CropTransform(0, 50, 100), 100, 100)  # half beyond, but at the edge


@pytest.mark.parametrize("angle", [90.0, -30.0, 45.0, 170.0])
def test_invented_border_of_turned_crops(angle: float) -> None:
    assert invented_share(CropTransform(60, 45, 40, angle), 120, 90) == 0
    assert invented_share(CropTransform(-90, 45, 40, angle), 120, 90) == 1
    square = CropTransform(20, 70, 80, angle)
    grid = np.stack(np.meshgrid(*[(np.arange(400) + 0.5) / 400] * 2), axis=-1)
    x, y = np.moveaxis(square.to_photo(grid, 1), -1, 0)
    beyond = (x < 0) | (x > 120) | (y < 0) | (y > 90)
    assert 0.2 < beyond.mean() == pytest.approx(invented_share(square, 120, 90), abs=5e-3)


def test_a_turned_photo_that_the_face_fills_is_turned_about_its_middle() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (48, 48, 3)).astype(np.uint8)
    face = (SPANNED - (10, 40)) * 0.48
    box = tuple(face.min(0)) + tuple(face.max(0))
    for angle in (-90.0, 90.0, 180.0):
        square, used = crop_photo(face, box, (48, 48), angle=angle)
        assert used == "as-is" and invented_share(square, 48, 48) == 0
        assert np.array_equal(crop(photo, square, 48), np.rot90(photo, round(angle / 90)))
    square, used = crop_photo(face, box, (48, 48), angle=45.0)
    assert (square, used) == (CropTransform(24, 24, 48, 45.0), "as-is")
    # Two squares an eighth of a turn apart share an octagon.
    assert invented_share(square, 48, 48) == pytest.approx(1 - 2 * (2**0.5 - 1))
