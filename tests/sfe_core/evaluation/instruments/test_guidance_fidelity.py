"""Landmarks, pose and order in depth have closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from sfe_core.evaluation.instruments.guidance_fidelity import (
    depth_order,
    heads_of,
    map_at,
    rotation_angle,
)
from sfe_core.faces.drawn_faces import landmark_error
from sfe_core.faces.head import HeadModel
from sfe_core.faces.rendering import rotation_matrix


def test_landmark_error_has_its_closed_form():
    asked = np.random.default_rng(0).uniform(size=(68, 2))
    asked[36], asked[45] = (0.2, 0.5), (0.6, 0.5)
    moved = asked + np.array([0.03, 0.04])
    assert landmark_error(moved, asked) == pytest.approx(100 * 0.05 / 0.4)
    assert landmark_error(moved * 7, asked * 7) == pytest.approx(12.5)
    assert np.isnan(landmark_error(moved, np.zeros((68, 2))))


@pytest.mark.parametrize("degrees", [0.0, 1e-4, 3.0, 90.0, 179.0])
def test_the_angle_between_rotations(degrees: float):
    first = Rotation.from_euler("yxz", (20.0, 10.0, -5.0), degrees=True)
    second = Rotation.from_euler("y", degrees, degrees=True) * first
    pair = first.as_matrix()[None], second.as_matrix()[None]
    assert rotation_angle(*pair).item() == pytest.approx(degrees, abs=1e-9)
    assert rotation_angle(*pair[::-1]).item() == pytest.approx(degrees, abs=1e-9)


def project(yaw: float, pitch: float) -> np.ndarray:
    """The mean head's landmarks seen by the scaled-orthographic camera, y down, in [0, 1]."""
    points = HeadModel.load().landmarks()[0] @ rotation_matrix(yaw, pitch, 0.0).T
    return points[:, :2] * (2.5, -2.5) + 0.5


def test_the_pose_of_a_turned_head_is_found_and_the_error_is_the_turn():
    rotations, depths = heads_of(np.stack([project(0, 0), project(20, 0), project(0, 15)]))
    turn = rotation_angle(rotations[1:], rotations[:1].repeat(2, axis=0))
    np.testing.assert_allclose(turn, [20, 15], atol=3)
    # Turned to the image's right, the left of the picture comes nearer than the right.
    jaw = depths[:, 0] - depths[:, 16]
    assert abs(jaw[0]) < 0.01 and abs(jaw[1]) > 0.03


def test_depth_order_counts_pairs():
    asked = np.array([0.1, 0.3, 0.6, 0.9])
    assert depth_order(asked * 3 + 1, asked) == 1.0
    assert depth_order(-asked, asked) == 0.0
    swapped = np.array([0.1, 0.6, 0.3, 0.9])
    assert depth_order(swapped, asked) == pytest.approx(5 / 6)


def test_depth_order_leaves_out_ties_and_places_without_surface():
    asked = np.array([0.5, 0.505, 0.9, np.nan])
    assert depth_order(np.array([2.0, 1.0, 3.0, 0.0]), asked) == 1.0
    assert np.isnan(depth_order(np.arange(3.0), np.array([0.5, 0.5, np.nan])))


def test_a_map_is_read_where_the_landmarks_are():
    depth = np.zeros((4, 4), np.float32)
    depth[1, 2] = 0.75
    points = np.array([[0.6, 0.3], [0.1, 0.1], [1.2, 0.3], [-0.1, 0.3]])
    np.testing.assert_array_equal(map_at(depth, points), [0.75, np.nan, np.nan, np.nan])
