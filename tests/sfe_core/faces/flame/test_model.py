"""The head model: gradients in float64, rigid motion, an independent formulation, landmarks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from sfe_core.faces.flame.landmarks import yaw_rows
from sfe_core.faces.flame.model import Flame
from sfe_core.faces.flame.parameters import load_flame
from sfe_core.faces.flame.skinning import linear_blend_skinning, rotation_matrices


def random_codes(batch: int, seed: int = 0, pose_rad: float = 0.4) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)

    def normal(width: int, scale: float) -> torch.Tensor:
        return scale * torch.randn(batch, width, generator=draw)

    return {
        "shape": normal(100, 1.0),
        "expression": normal(50, 1.0),
        "pose": normal(6, pose_rad),
        "eye_pose": normal(6, pose_rad),
        "neck_pose": normal(3, pose_rad),
    }


@pytest.mark.parametrize("scale", [0.0, 1e-9, 1e-5, 0.3, 3.0])
def test_rotations_are_rodrigues_and_their_gradients_exact(scale: float) -> None:
    vectors = scale * torch.randn(4, 3, dtype=torch.float64, generator=torch.manual_seed(0))
    exact = Rotation.from_rotvec(vectors.numpy()).as_matrix()
    assert np.abs(rotation_matrices(vectors).numpy() - exact).max() < 1e-14
    vectors.requires_grad_(True)
    assert torch.autograd.gradcheck(rotation_matrices, (vectors,), eps=1e-6, atol=1e-8)


def test_skinning_gradients_in_float64() -> None:
    draw = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    vertices, joints = 7, 5
    inputs = [
        normal(2, vertices, 3),
        0.5 * normal(2, joints, 3),
        normal(2, joints, 3),
        0.1 * normal(9 * (joints - 1), 3 * vertices),
        normal(vertices, joints).softmax(-1),
    ]
    inputs[1][0] = 0.0  # the zero rotation, where a careless formula has no derivative
    for tensor in inputs:
        tensor.requires_grad_(True)

    def skin(rest, axis_angle, places, posedirs, weights):
        turns = rotation_matrices(axis_angle)
        return linear_blend_skinning(rest, turns, places, [-1, 0, 1, 1, 1], posedirs, weights)

    assert torch.autograd.gradcheck(skin, inputs, eps=1e-6, atol=1e-7)


def test_gradients_of_the_whole_model_in_float64(flame_folder) -> None:
    model = Flame(load_flame(flame_folder), n_shape=3, n_expression=2, dtype=torch.float64)
    chosen = torch.arange(0, 5023, 500)
    codes = [
        torch.randn(1, width, dtype=torch.float64, generator=torch.manual_seed(width))
        for width in (3, 2, 6, 6, 3)
    ]
    for code in codes:
        code.requires_grad_(True)
    assert torch.autograd.gradcheck(
        lambda *given: model(*given)[:, chosen], codes, eps=1e-6, atol=1e-8
    )


def test_model_agrees_with_homogeneous_matrices_in_numpy(flame_folder, flame: Flame) -> None:
    """Skinning again, one vertex's 4x4 blend at a time, as the SMPL paper writes it."""
    stored, codes = load_flame(flame_folder), random_codes(3)
    vertices = flame(**codes)
    for row in range(3):
        code = {name: value[row].double().numpy() for name, value in codes.items()}
        betas = np.zeros(400)
        betas[:100], betas[300:350] = code["shape"], code["expression"]
        shaped = stored.v_template + stored.shapedirs.astype(float) @ betas
        joints = stored.J_regressor @ shaped
        angles = np.concatenate(
            [code["pose"][:3], code["neck_pose"], code["pose"][3:], code["eye_pose"]]
        )
        turns = Rotation.from_rotvec(angles.reshape(5, 3)).as_matrix()
        worlds = []
        for joint, parent in enumerate(stored.parents):
            local = np.eye(4)
            local[:3, :3] = turns[joint]
            local[:3, 3] = joints[joint] - (joints[parent] if parent >= 0 else 0)
            worlds.append(worlds[parent] @ local if parent >= 0 else local)
        undo = np.tile(np.eye(4), (5, 1, 1))
        undo[:, :3, 3] = -joints
        blend = np.einsum("vj,jab->vab", stored.weights, np.stack(worlds) @ undo)
        corrected = shaped + stored.posedirs @ (turns[1:] - np.eye(3)).ravel()
        exact = np.einsum("vab,vb->va", blend, np.c_[corrected, np.ones(len(corrected))])[:, :3]
        assert np.abs(vertices[row].numpy() - exact).max() < 1e-6


def test_rest_pose_is_the_template_and_batches_do_not_mix(flame: Flame) -> None:
    zero = flame(torch.zeros(1, 100), torch.zeros(1, 50), torch.zeros(1, 6))
    assert torch.allclose(zero[0], flame.v_template, atol=1e-7)
    codes = random_codes(3)
    together = flame(**codes)
    for row in range(3):
        alone = flame(**{name: value[row : row + 1] for name, value in codes.items()})
        assert torch.allclose(together[row], alone[0], atol=1e-6)


def test_global_rotation_moves_the_head_rigidly_about_its_root(flame: Flame) -> None:
    codes = random_codes(1)
    still = {**codes, "pose": codes["pose"].clone()}
    still["pose"][:, :3] = 0
    turn = rotation_matrices(codes["pose"][:, :3])
    root = (flame.J_regressor @ flame.shaped(codes["shape"], codes["expression"]))[:, :1]
    expected = (flame(**still) - root) @ turn.transpose(1, 2) + root
    assert torch.allclose(flame(**codes), expected, atol=1e-6)


def test_jaw_moves_the_chin_and_not_the_scalp(flame: Flame) -> None:
    pose = torch.zeros(1, 6)
    pose[:, 3] = 0.3
    moved = (flame(torch.zeros(1, 100), torch.zeros(1, 50), pose)[0] - flame.v_template).norm(dim=1)
    chin = flame.dynamic_corners[0, 8, 0]
    scalp = flame.v_template[:, 1].argmax()
    assert moved[chin] > 0.005 > 2 * moved[scalp]


def test_wrong_widths_are_refused(flame: Flame) -> None:
    with pytest.raises(ValueError, match="expression"):
        flame(torch.zeros(1, 100), torch.zeros(1, 100), torch.zeros(1, 6))
    with pytest.raises(ValueError, match="pose"):
        flame(torch.zeros(1, 100), torch.zeros(1, 50), torch.zeros(1, 3))


@pytest.mark.parametrize(
    ("degrees", "row"),
    [(0, 0), (1, 1), (12.4, 12), (39, 39), (75, 39), (-1, 40), (-12.4, 51), (-39, 78), (-75, 78)],
)
def test_jaw_line_row_by_yaw(degrees: float, row: int) -> None:
    turn = Rotation.from_euler("ZYX", [20, degrees, 10], degrees=True).as_matrix()
    assert yaw_rows(torch.tensor(turn[None])).item() == row


def test_landmarks_are_points_of_their_faces(flame: Flame) -> None:
    codes = random_codes(2)
    vertices = flame(**codes)
    seen = flame.landmarks_2d(vertices, codes["pose"], codes["neck_pose"])
    for point in (17, 30, 67):
        corners = vertices[:, flame.static_corners[point - 17]]
        exact = (corners * flame.static_weights[point - 17][None, :, None]).sum(1)
        assert torch.allclose(seen[:, point], exact, atol=1e-7)


def test_jaw_line_follows_the_yaw_of_root_and_neck_together(flame: Flame) -> None:
    pose, neck = torch.zeros(1, 6), torch.zeros(1, 3)
    pose[:, 1], neck[:, 1] = np.deg2rad(10), np.deg2rad(-13)
    vertices = flame(torch.zeros(1, 100), torch.zeros(1, 50), pose, neck_pose=neck)
    seen = flame.landmarks_2d(vertices, pose, neck)[0, :17]
    corners, weights = flame.dynamic_corners[42], flame.dynamic_weights[42]  # -3 degrees
    assert torch.allclose(seen, (vertices[0, corners] * weights[..., None]).sum(1), atol=1e-7)
    straight = flame.landmarks_2d(vertices, pose)[0, :17]  # 10 degrees: another row
    assert (seen - straight).abs().max() > 1e-3
