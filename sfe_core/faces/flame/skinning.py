"""Linear blend skinning of the SMPL family (Loper et al. 2015, eqs. 2-10; FLAME, Li et al. 2017).

Everything is differentiable in every argument and keeps the dtype it is given.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Below this squared angle (radians²) sin x / x and its like are 1 - x²/6 to float64's last digit.
_SMALL = 1e-8


def rotation_matrices(axis_angle: Tensor) -> Tensor:
    """Rodrigues' formula, R = I + (sin θ / θ) K + ((1 - cos θ) / θ²) K².

    Args:
        axis_angle: [..., 3] radians; K is its cross-product matrix, θ its length.

    Returns:
        [..., 3, 3] rotations; the derivative is exact at the zero rotation too.
    """
    squared = (axis_angle * axis_angle).sum(-1)
    small = squared < _SMALL
    safe = torch.where(small, torch.ones_like(squared), squared)
    angle = safe.sqrt()
    sine = torch.where(small, 1 - squared / 6, angle.sin() / angle)
    # 1 - cos θ as 2 sin²(θ/2): no digits are lost at small angles.
    versine = torch.where(small, 0.5 - squared / 24, 2 * (angle / 2).sin().square() / safe)
    x, y, z = axis_angle.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    identity = torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device)
    return identity + sine[..., None, None] * cross + versine[..., None, None] * (cross @ cross)


def joint_transforms(
    rotations: Tensor, joints: Tensor, parents: list[int]
) -> tuple[Tensor, Tensor]:
    """World transform of each joint, relative to the rest pose.

    Args:
        rotations: [B, J, 3, 3] of each joint in its parent's frame.
        joints: [B, J, 3] rest positions, metres.
        parents: [J], each before its children; -1 for the root.

    Returns:
        Rotations [B, J, 3, 3] and translations [B, J, 3] that move rest-pose points.
    """
    turned, placed = [rotations[:, 0]], [joints[:, 0]]
    for joint, parent in enumerate(parents[1:], start=1):
        offset = (joints[:, joint] - joints[:, parent])[..., None]
        turned.append(turned[parent] @ rotations[:, joint])
        placed.append((turned[parent] @ offset)[..., 0] + placed[parent])
    turns, places = torch.stack(turned, 1), torch.stack(placed, 1)
    return turns, places - (turns @ joints[..., None])[..., 0]


def linear_blend_skinning(
    rest: Tensor,
    rotations: Tensor,
    joints: Tensor,
    parents: list[int],
    posedirs: Tensor,
    weights: Tensor,
) -> Tensor:
    """Pose a shaped head: correctives for the rotations, then the weighted joint transforms.

    Args:
        rest: [B, V, 3] shaped vertices in the rest pose, metres.
        rotations: [B, J, 3, 3] of each joint in its parent's frame.
        joints: [B, J, 3] of the shaped head, metres.
        parents: [J].
        posedirs: [9 (J - 1), 3 V] correctives per entry of R - I of the joints but the root.
        weights: [V, J].

    Returns:
        Posed vertices [B, V, 3].
    """
    batch, vertices = rest.shape[:2]
    identity = torch.eye(3, dtype=rest.dtype, device=rest.device)
    feature = (rotations[:, 1:] - identity).flatten(1)
    corrected = rest + (feature @ posedirs).view(batch, vertices, 3)
    turns, shifts = joint_transforms(rotations, joints, parents)
    per_joint = torch.cat([turns, shifts[..., None]], -1).flatten(2)
    blended = (weights @ per_joint).view(batch, vertices, 3, 4)
    return (blended[..., :3] @ corrected[..., None])[..., 0] + blended[..., 3]
