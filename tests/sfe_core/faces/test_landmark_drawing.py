"""The landmark map: colours by part, where the points are, alike at every size."""

from __future__ import annotations

import numpy as np

from sfe_core.faces.head import HeadModel
from sfe_core.faces.landmark_drawing import PARTS, draw_landmarks


def face_points(size: int) -> np.ndarray:
    flat = HeadModel.load().landmarks()[0][:, :2] * (1, -1)
    return (flat / 0.24 + (0.5, 0.4)) * size


def test_each_part_has_its_colour_at_its_points() -> None:
    points = face_points(256)
    picture = draw_landmarks(points, 256)
    for first, last, _, colour in PARTS.values():
        middle = points[(first + last) // 2]
        column, row = np.floor(middle).astype(int)
        near = picture[row - 1 : row + 2, column - 1 : column + 2].reshape(-1, 3).astype(int)
        assert np.abs(near - colour).sum(axis=1).min() < 60, middle


def test_parts_cover_the_68_points_once() -> None:
    covered = [n for first, last, _, _ in PARTS.values() for n in range(first, last + 1)]
    assert covered == list(range(68))


def test_most_of_the_map_is_black_and_edges_are_soft() -> None:
    picture = draw_landmarks(face_points(128), 128)
    assert picture.shape == (128, 128, 3) and picture.dtype == np.uint8
    assert 0.6 < (picture.max(axis=2) == 0).mean() < 0.97
    assert len(np.unique(picture)) > 50


def test_sizes_look_alike() -> None:
    small = draw_landmarks(face_points(64), 64).astype(float)
    large = draw_landmarks(face_points(256), 256).astype(float)
    shrunk = large.reshape(64, 4, 64, 4, 3).mean((1, 3))
    assert np.abs(shrunk - small).mean() < 6


def test_background_shows_where_nothing_is_drawn() -> None:
    background = np.full((64, 64, 3), 77, np.uint8)
    picture = draw_landmarks(face_points(64), 64, background)
    assert (picture[0] == 77).all() and (background == 77).all()
    assert (picture != 77).any()


def test_points_outside_do_no_harm() -> None:
    assert (draw_landmarks(np.full((68, 2), -1000.0), 32) == 0).all()
