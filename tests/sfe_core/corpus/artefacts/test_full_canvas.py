"""Maps in the photo's frame: whole, aligned with the crop's, and bounded in memory."""

from __future__ import annotations

import numpy as np
import pytest

from sfe_core.corpus.artefacts import full_canvas
from sfe_core.corpus.artefacts.full_canvas import (
    blend,
    landmarks_in_photo,
    overlay,
    photo_tiles,
    render_in_photo,
)
from sfe_core.faces.crop import CropTransform, crop, paste_values
from sfe_core.faces.depth import mesh_depth
from sfe_core.faces.detectors.turning import Turn
from sfe_core.faces.head import HeadModel
from sfe_core.faces.landmark_drawing import draw_landmarks
from sfe_core.faces.reconstruction import Reconstruction
from sfe_core.faces.rendering import Camera, raycast, rotation_matrix, shade_grey


def head_at(x: float, y: float, scale: float = 500.0) -> Reconstruction:
    """The mean head, turned a little."""
    model = HeadModel.load()
    camera = Camera(rotation_matrix(20, 5, 10), scale, np.array([x, y]))
    landmarks = camera.project(model.landmarks()[0])[:, :2]
    return Reconstruction(model.vertices()[0], model.faces, camera, (20, 5, 10), 0.0, landmarks)


@pytest.mark.parametrize("place", [(100.0, 90.0), (5.0, 150.0), (195.0, 10.0)])
def test_bands_are_the_whole_picture(
    place: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    head = head_at(*place)
    whole = raycast(head.vertices, head.faces, 180, 200)
    monkeypatch.setattr(full_canvas, "_TILE_PIXELS", 2000)
    assert len(list(photo_tiles(head, 180, 200))) > 1
    picture = render_in_photo(head, 180, 200, lambda raster, _: shade_grey(raster))
    gap = np.abs(picture.astype(int) - shade_grey(whole)).max(axis=2)
    assert whole.hit.mean() > 0.05 and (gap > 2).mean() < 1e-3
    depth = render_in_photo(head, 180, 200, mesh_depth, (), np.uint16)
    assert depth.dtype == np.uint16 and depth.shape == (180, 200)
    gap = np.abs(depth.astype(int) - mesh_depth(whole, head.pixels_per_metre))
    assert (gap > 100).mean() < 1e-3


def test_a_head_beside_the_photo_is_an_empty_picture() -> None:
    head = head_at(-500.0, 90.0)
    picture = render_in_photo(head, 60, 80, lambda raster, _: shade_grey(raster))
    assert picture.shape == (60, 80, 3) and not picture.any()


def test_the_crop_of_the_photos_render_is_the_crops_render() -> None:
    head = head_at(110.0, 95.0)
    transform = CropTransform(110.3, 90.6, 120.0)
    raster, _ = head.raster_in_crop(transform, 240)
    picture = render_in_photo(head, 180, 220, lambda raster, _: shade_grey(raster))
    ours = crop(picture, transform, 240).astype(int)
    theirs = shade_grey(raster).astype(int)
    assert np.abs(ours - theirs).mean() < 4
    shifted = np.roll(theirs, 4, axis=1)
    assert np.abs(ours - shifted).mean() > 2 * np.abs(ours - theirs).mean()


@pytest.mark.parametrize("angle", [180.0, 90.0, -55.0])
def test_a_turned_heads_maps_are_the_upright_ones_turned(angle: float) -> None:
    turn = Turn(angle, 230, 210)
    middle = np.array(turn.size) / 2 + (3.0, -5.0)
    upright = head_at(*middle)
    head = turn.head_to_photo(upright)
    square = CropTransform(float(middle[0]) + 0.3, float(middle[1]) - 4.4, 120.0)
    x, y = turn.to_photo(np.array([square.center_x, square.center_y]))
    transform = CropTransform(float(x), float(y), 120.0, angle)
    assert head.angles[:2] == upright.angles[:2]
    raster, scale = head.raster_in_crop(transform, 240)
    wanted, wanted_scale = upright.raster_in_crop(square, 240)
    assert scale == wanted_scale
    gap = np.abs(shade_grey(raster).astype(int) - shade_grey(wanted))
    assert wanted.hit.mean() > 0.2 and (gap.max(axis=2) > 2).mean() < 0.01
    # In the photo it lies turned, shaded as in its crop.
    picture = render_in_photo(head, 210, 230, lambda raster, _: shade_grey(raster), angle=angle)
    assert np.abs(crop(picture, transform, 240).astype(int) - shade_grey(wanted)).mean() < 4
    assert (
        np.abs(
            transform.to_crop(head.landmarks, 240) - square.to_crop(upright.landmarks, 240)
        ).max()
        < 0.01
    )
    drawn = landmarks_in_photo(head.landmarks, transform, 210, 230)
    expected = draw_landmarks(square.to_crop(upright.landmarks, 120), 120)
    shown = crop(drawn, transform, 120)
    near = np.abs(shown.astype(int) - expected).mean()
    away = np.abs(shown.astype(int) - np.roll(expected, 5, axis=0)).mean()
    assert near < 0.6 * away


@pytest.mark.parametrize("corner", [(40, 30), (-20, -30), (120, 100)])
def test_landmarks_of_a_whole_pixel_crop_are_a_slice(corner: tuple[int, int]) -> None:
    side = 96
    points = head_at(0, 0).landmarks / 2 + 48 + corner
    transform = CropTransform(corner[0] + side / 2, corner[1] + side / 2, side)
    picture = landmarks_in_photo(points, transform, 150, 160)
    drawn = np.zeros((400, 400, 3), np.uint8)
    at = (corner[1] + 100, corner[0] + 100)
    drawn[at[0] : at[0] + side, at[1] : at[1] + side] = draw_landmarks(points - corner, side)
    assert picture.any() and np.array_equal(picture, drawn[100:250, 100:260])


def test_landmarks_of_large_faces_are_drawn_small_and_enlarged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    points = head_at(150.0, 150.0, 900.0).landmarks
    transform = CropTransform(150.2, 149.7, 260.0)
    exact = landmarks_in_photo(points, transform, 300, 300)
    monkeypatch.setattr(full_canvas, "_DRAWN_PX", 130)
    coarse = landmarks_in_photo(points, transform, 300, 300)
    assert exact.any()
    near = np.abs(exact.astype(int) - coarse).mean()
    away = np.abs(exact.astype(int) - np.roll(coarse, 6, axis=0)).mean()
    assert near < 0.6 * away


def test_values_are_pasted_where_they_were_cropped() -> None:
    y, x = np.mgrid[:90, :120].astype(np.float32)
    values = 300 * x + 200 * y + 1
    transform = CropTransform(60.3, 44.8, 40.0)
    for size in (20, 40, 128):
        cut = crop(values, transform, size)
        assert cut.dtype == np.float32 and cut.shape == (size, size)
        back = paste_values((90, 120), cut.round().astype(np.uint16), transform)
        assert back.dtype == np.uint16
        rows, columns = np.nonzero(back)
        assert (rows.min(), rows.max(), columns.min(), columns.max()) == (25, 64, 40, 79)
        inner = np.s_[29:61, 44:76]
        assert np.abs(back[inner] - values[inner]).max() < 300
        assert np.abs(back[inner] - values[inner]).mean() < 80
    assert not paste_values((90, 120), cut, CropTransform(-90, 0, 40)).any()


def test_overlay_shows_each_map_over_the_photo() -> None:
    photo = np.full((40, 60, 3), 100, np.uint8)
    mesh, marks = np.zeros_like(photo), np.zeros_like(photo)
    mesh[:20], marks[5, 5] = 200, (0, 255, 0)
    depth = np.zeros((40, 60), np.uint16)
    depth[30:] = 65535
    picture = overlay(photo, mesh, depth, marks)
    assert picture.shape == (40, 180, 3)
    assert (picture[:20, :60] == 160).all() and (picture[20:, :60] == 100).all()
    assert (picture[30:, 60:120] == 193).all() and (picture[:30, 60:120] == 100).all()
    assert (picture[5, 125] == (0, 255, 0)).all() and (picture[6, 125] == 100).all()
    assert overlay(photo, mesh, None, marks).shape == (40, 120, 3)
    large = np.zeros((100, 2048, 3), np.uint8)
    assert overlay(large, large, None, large).shape == (50, 2048, 3)
    assert np.array_equal(blend(photo, np.zeros_like(photo)), photo)
