"""FLAME as a torch module: codes to vertices, vertices to landmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sfe_core.faces.flame.landmarks import (
    LandmarkEmbedding,
    load_landmark_embedding,
    surface_points,
    yaw_rows,
)
from sfe_core.faces.flame.parameters import SHAPE_COUNT, FlameParameters, load_flame
from sfe_core.faces.flame.skinning import linear_blend_skinning, rotation_matrices


class Flame(nn.Module):
    """The head model; holds buffers only, nothing to train.

    Args:
        parameters: from `load_flame`.
        embedding: from `load_landmark_embedding`; None for a model without landmarks.
        n_shape: identity components used, the first ones.
        n_expression: expression components used, the first ones.
        dtype: of the buffers and so of the results.

    Buffers: v_template [V, 3], shapedirs [V, 3, n_shape + n_expression], posedirs [36, 3 V],
    J_regressor [5, V], lbs_weights [V, 5], faces [F, 3], all in metres where they are lengths;
    with an embedding, {static, dynamic}_{corners, weights} as `LandmarkEmbedding` has them.
    """

    v_template: Tensor
    shapedirs: Tensor
    posedirs: Tensor
    J_regressor: Tensor
    lbs_weights: Tensor
    faces: Tensor
    static_corners: Tensor
    static_weights: Tensor
    dynamic_corners: Tensor
    dynamic_weights: Tensor

    def __init__(
        self,
        parameters: FlameParameters,
        embedding: LandmarkEmbedding | None = None,
        n_shape: int = 100,
        n_expression: int = 50,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.n_shape, self.n_expression = n_shape, n_expression
        expression_end = SHAPE_COUNT + n_expression
        used = [*range(n_shape), *range(SHAPE_COUNT, expression_end)]
        vertices = len(parameters.v_template)
        arrays = {
            "v_template": parameters.v_template,
            "shapedirs": parameters.shapedirs[:, :, used],
            "posedirs": parameters.posedirs.reshape(3 * vertices, -1).T,
            "J_regressor": parameters.J_regressor,
            "lbs_weights": parameters.weights,
        }
        for name, array in arrays.items():
            self.register_buffer(name, torch.tensor(array, dtype=dtype).contiguous())
        self.register_buffer("faces", torch.tensor(parameters.faces))
        self.parents: list[int] = parameters.parents.tolist()
        if embedding is not None:
            self._register_landmarks(embedding, dtype)

    @classmethod
    def load(cls, folder: Path, **options: Any) -> Flame:
        """The model and its landmarks from a folder (see `flame.files`).

        Raises:
            UserError: as `load_flame` and `load_landmark_embedding`.
        """
        return cls(load_flame(folder), load_landmark_embedding(folder), **options)

    def _register_landmarks(self, embedding: LandmarkEmbedding, dtype: torch.dtype) -> None:
        for kind in ("static", "dynamic"):
            corners = self.faces[torch.tensor(getattr(embedding, f"{kind}_faces"))]
            weights = torch.tensor(getattr(embedding, f"{kind}_weights"), dtype=dtype)
            self.register_buffer(f"{kind}_corners", corners)
            self.register_buffer(f"{kind}_weights", weights)

    def forward(
        self,
        shape: Tensor,
        expression: Tensor,
        pose: Tensor,
        eye_pose: Tensor | None = None,
        neck_pose: Tensor | None = None,
    ) -> Tensor:
        """Posed vertices [B, V, 3] in metres; x to image right, y up, z to the viewer.

        Args:
            shape: [B, n_shape] standard deviations.
            expression: [B, n_expression] standard deviations.
            pose: [B, 6] axis-angle radians: the whole head, then the jaw.
            eye_pose: [B, 6] left eye, right eye; None: straight ahead.
            neck_pose: [B, 3]; None: straight.

        Raises:
            ValueError: a code of another width.
        """
        shaped = self.shaped(shape, expression)
        rotations = self._rotations(pose, eye_pose, neck_pose)
        joints = self.J_regressor @ shaped
        return linear_blend_skinning(
            shaped, rotations, joints, self.parents, self.posedirs, self.lbs_weights
        )

    def shaped(self, shape: Tensor, expression: Tensor) -> Tensor:
        """Vertices [B, V, 3] in the rest pose: the template plus the weighted blend shapes."""
        _check_width("shape", shape, self.n_shape)
        _check_width("expression", expression, self.n_expression)
        codes = torch.cat([shape, expression], 1)
        return self.v_template + torch.einsum("bk,vck->bvc", codes, self.shapedirs)

    def _rotations(self, pose: Tensor, eye_pose: Tensor | None, neck_pose: Tensor | None) -> Tensor:
        """[B, 5, 3, 3] in the order root, neck, jaw, left eye, right eye."""
        _check_width("pose", pose, 6)
        neck = torch.zeros_like(pose[:, :3]) if neck_pose is None else neck_pose
        eyes = torch.zeros_like(pose) if eye_pose is None else eye_pose
        _check_width("neck_pose", neck, 3)
        _check_width("eye_pose", eyes, 6)
        joined = torch.cat([pose[:, :3], neck, pose[:, 3:], eyes], 1)
        return rotation_matrices(joined.view(len(pose), -1, 3))

    def landmarks_2d(
        self, vertices: Tensor, pose: Tensor, neck_pose: Tensor | None = None
    ) -> Tensor:
        """The 68 points as a photo shows them, [B, 68, 3]: the jaw line follows the yaw.

        Args:
            vertices: [B, V, 3] from `forward`.
            pose: [B, 6] and
            neck_pose: [B, 3] or None, as given to `forward`.
        """
        rotations = self._rotations(pose, None, neck_pose)
        row = yaw_rows(rotations[:, 0] @ rotations[:, 1])
        jaw = surface_points(vertices, self.dynamic_corners[row], self.dynamic_weights[row])
        inner = surface_points(vertices, self.static_corners, self.static_weights)
        return torch.cat([jaw, inner], 1)


def _check_width(name: str, code: Tensor, width: int) -> None:
    if code.ndim != 2 or code.shape[1] != width:
        raise ValueError(f"{name} has shape {tuple(code.shape)}, expected [B, {width}]")
