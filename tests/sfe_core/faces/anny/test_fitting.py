"""The fit: exact cases, invariances, bounds, and how well it does behind the detector."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
from scipy.stats import spearmanr

from sfe_core.emotions import EMOTIONS
from sfe_core.faces.anny.fitting import HeadFit, fit_heads, inter_ocular, rotation_angles
from sfe_core.faces.backends import load_detector
from sfe_core.faces.head import ACTION_NAMES, HeadModel
from sfe_core.faces.rendering import Camera, rotation_matrix
from sfe_core.synthesis.render import face_actions, render_face
from sfe_core.synthesis.spec import sample_face

PLACE = {name: number for number, name in enumerate(ACTION_NAMES)}


def landmarks_of(
    actions: dict[str, float], angles: tuple[float, float, float] = (0.0, 0.0, 0.0), who: int = 0
) -> np.ndarray:
    """[68, 2] exact image landmarks of a known head."""
    head = HeadModel.load()
    values = np.zeros(52)
    for name, value in actions.items():
        values[PLACE[name]] = value
    camera = Camera(rotation_matrix(*angles), 900.0, np.array([130.0, 110.0]))
    return camera.project(head.landmarks(head.identity_table[who], values)[0])[:, :2]


def action(fits: HeadFit, name: str) -> np.ndarray:
    return side_mean(fits.actions, name)


def side_mean(actions: np.ndarray, name: str) -> np.ndarray:
    """[N] an action, or the mean of its left and right half."""
    names = [n for n in (name, f"{name}Left", f"{name}Right") if n in PLACE]
    return actions[:, [PLACE[n] for n in names]].mean(axis=1)


def test_angles_invert_the_rotation_matrix() -> None:
    angles = np.random.default_rng(0).uniform(-50, 50, (20, 3))
    rotations = np.stack([rotation_matrix(*row) for row in angles])
    assert np.allclose(rotation_angles(rotations), angles, atol=1e-3)


def test_pose_is_recovered() -> None:
    angles = np.array([(0, 0, 0), (25, 5, -10), (-30, -8, 15), (10, 12, 40)], float)
    fits = fit_heads(np.stack([landmarks_of({}, tuple(row), who=7) for row in angles]))
    assert np.abs(fits.angles - angles).max() < 5.0
    assert fits.error.max() < 0.02
    # A small head nearby and a large one far off look alike: only the ratio of scales is known.
    assert np.allclose(fits.scale, fits.scale[0], rtol=0.01)


def test_of_a_known_shape_more_is_taken_for_expression() -> None:
    head = HeadModel.load()
    asked = [{}, {"mouthSmileLeft": 0.7, "mouthSmileRight": 0.7}, {"browInnerUp": 0.8}]
    points = np.stack([landmarks_of(one, (10.0, -5.0, 3.0), who=7) for one in asked])
    known = head.identity_table[7]
    free, found = fit_heads(points), fit_heads(points, identity=known)
    np.testing.assert_allclose(found.identity, np.tile(known, (3, 1)), atol=1e-6)
    assert found.error.max() < 0.01
    for place, name in ((1, "mouthSmile"), (2, "browInnerUp")):
        true = 0.7 if place == 1 else 0.8
        kept = [float(action(one, name)[place] - action(one, name)[0]) for one in (free, found)]
        assert abs(kept[1] - true) < abs(kept[0] - true), name
    assert np.abs(found.angles - (10.0, -5.0, 3.0)).max() < np.abs(free.angles - (10, -5, 3)).max()


@pytest.mark.parametrize("name", ["jawOpen", "mouthSmile", "browDown", "browInnerUp", "eyeBlink"])
def test_stronger_expressions_give_stronger_actions(name: str) -> None:
    halves = [n for n in (name, f"{name}Left", f"{name}Right") if n in PLACE]
    levels = (0.0, 0.4, 0.8)
    fits = fit_heads(np.stack([landmarks_of(dict.fromkeys(halves, level)) for level in levels]))
    found = action(fits, name)
    # The priors shrink what moves few landmarks, and the more the weaker it is.
    assert found[0] + 0.03 < found[1] and found[1] + 0.03 < found[2] <= 1


def test_moving_and_growing_the_points_changes_the_camera_alone() -> None:
    points = landmarks_of({"jawOpen": 0.5}, (15.0, 0.0, 5.0), who=3)
    plain, moved = fit_heads(points[None]), fit_heads(points[None] * 2.5 + (300.0, -40.0))
    assert np.allclose(plain.actions, moved.actions, atol=1e-3)
    assert np.allclose(plain.rotation, moved.rotation, atol=1e-4)
    assert np.allclose(moved.scale, plain.scale * 2.5, rtol=1e-4)
    assert np.allclose(moved.translation, plain.translation * 2.5 + (300.0, -40.0), atol=0.05)
    assert np.allclose(plain.error, moved.error, atol=1e-5)


def test_a_face_is_fitted_alike_alone_and_in_a_batch() -> None:
    points = np.stack([landmarks_of({"jawOpen": 0.3 * n}, who=n) for n in range(4)])
    batch, alone = fit_heads(points), fit_heads(points[2:3])
    for part in ("actions", "identity", "rotation", "scale", "translation"):
        assert np.array_equal(getattr(batch, part)[2], getattr(alone, part)[0]), part


def test_wild_points_keep_actions_in_bounds_and_numbers_finite() -> None:
    random = np.random.default_rng(0)
    fits = fit_heads(random.uniform(0, 100, (8, 68, 2)))
    assert (fits.actions >= 0).all() and (fits.actions <= 1).all()
    assert np.isfinite(fits.error).all() and np.isfinite(fits.rotation).all()
    turned = fits.rotation @ fits.rotation.transpose(0, 2, 1)
    assert np.allclose(turned, np.eye(3), atol=1e-4)


def test_no_face_gives_an_empty_fit() -> None:
    assert fit_heads(np.zeros((0, 68, 2))).actions.shape == (0, 52)


@pytest.mark.parametrize("points", [np.zeros((68, 2)), np.full((1, 68, 2), np.nan)])
def test_bad_landmarks_are_refused(points: np.ndarray) -> None:
    with pytest.raises(ValueError, match="finite"):
        fit_heads(points)


def test_the_astronaut_smiles() -> None:
    (face,) = load_detector("dlib").detect(skimage.data.astronaut()[:256, 96:352])
    fits = fit_heads(face.landmarks[None])
    assert fits.error[0] < 0.03
    assert action(fits, "mouthSmile")[0] > 0.3
    assert action(fits, "mouthFrown")[0] < 0.1
    assert np.abs(fits.angles[0]).max() < 15


@pytest.mark.slow
def test_synthetic_photos_through_the_detector() -> None:
    specs = [sample_face(900 + n, EMOTIONS[n % 8], identity=50 + n // 8) for n in range(48)]
    detector = load_detector("dlib")
    faces = [detector.detect(render_face(spec, 192, supersample=1).image) for spec in specs]
    assert sum(bool(found) for found in faces) >= 46
    kept = [(spec, found[0].landmarks) for spec, found in zip(specs, faces, strict=True) if found]
    fits = fit_heads(np.stack([points for _, points in kept]))
    assert fits.error.mean() < 0.04
    known = np.stack([face_actions(spec) for spec, _ in kept])
    # Activations under a tenth move no landmark by a visible amount: they count as equal.
    known = np.where(known < 0.1, 0.0, known)
    for name in ("jawOpen", "mouthSmile", "browDown", "browInnerUp"):
        rank = spearmanr(side_mean(known, name), action(fits, name)).statistic
        assert rank > 0.6, f"{name}: {rank:.2f}"


def test_inter_ocular_is_the_outer_corners_distance() -> None:
    points = np.zeros((1, 68, 2))
    points[0, 45] = (3.0, 4.0)
    assert inter_ocular(points)[0] == 5.0
