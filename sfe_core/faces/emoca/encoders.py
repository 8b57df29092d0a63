"""The encoders of DECA (Feng et al. 2021, section 4) and EMOCA (Danecek et al. 2022, section 3).

Three ResNet-50: the coarse one reads shape, albedo, expression, pose, camera and light, EMOCA's
second one the expression anew, the third one the detail. Pictures go in as they are, in [0, 1]:
unlike most ResNets these were trained without ImageNet's mean and spread taken out.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn
from torchvision.models import resnet50

from sfe_core.faces.emoca.settings import EmocaSettings

INPUT_PX = 224
_FEATURES, _HIDDEN = 2048, 1024


@dataclass(frozen=True)
class FaceCodes:
    """What the encoders read off B faces, under the published names."""

    shape: Tensor  # [B, 100] FLAME's identity, standard deviations
    tex: Tensor  # [B, 50] albedo, standard deviations
    exp: Tensor  # [B, 50] FLAME's expression, standard deviations
    pose: Tensor  # [B, 6] axis-angle radians: the whole head, then the jaw
    cam: Tensor  # [B, 3] scale, x, y of the weak-perspective camera, see `weak_perspective`
    light: Tensor  # [B, 9, 3] spherical harmonics, RGB
    detail: Tensor  # [B, 128]

    def row(self, place: int) -> dict[str, Tensor]:
        """One face's codes by name, without the batch axis."""
        return {field.name: getattr(self, field.name)[place] for field in fields(self)}


def _regressor(outputs: int) -> nn.Sequential:
    """2,048 features to a code."""
    return nn.Sequential(nn.Linear(_FEATURES, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, outputs))


class ResnetEncoder(nn.Module):
    """ResNet-50 to 2,048 features, then two linear layers; named as in the checkpoints."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.encoder = resnet50(weights=None)
        self.encoder.fc = nn.Identity()
        self.layers = _regressor(outputs)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, 224, 224] RGB in [0, 1] to [B, outputs]."""
        return self.layers(self.encoder(images))


class SecondHead(nn.Module):
    """EMOCA's expression head on the coarse encoder's features (`deca_parallel`)."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.layers = _regressor(outputs)

    def forward(self, features: Tensor) -> Tensor:
        """[B, 2048] to [B, outputs]."""
        return self.layers(features)


class FaceEncoder(nn.Module):
    """All encoders of a model: face crops to codes."""

    def __init__(self, settings: EmocaSettings) -> None:
        super().__init__()
        self.settings = settings
        self.E_flame = ResnetEncoder(sum(settings.code_lengths.values()))
        self.E_expression: nn.Module | None = None
        if settings.expression_backbone is not None:
            kinds = {"deca_clone": ResnetEncoder, "deca_parallel": SecondHead}
            build = kinds[settings.expression_backbone]
            self.E_expression = build(settings.expression_length)
        self.E_detail = ResnetEncoder(settings.n_detail)

    def forward(self, images: Tensor) -> FaceCodes:
        """Read faces.

        Args:
            images: [B, 3, 224, 224] RGB in [0, 1], cut by EMOCA's rule (`emoca.crops`).
        """
        features = self.E_flame.encoder(images)
        coarse = self.E_flame.layers(features)
        lengths = self.settings.code_lengths
        parts = dict(zip(lengths, coarse.split(list(lengths.values()), 1), strict=True))
        if self.E_expression is not None:
            shared = self.settings.expression_backbone == "deca_parallel"
            expressive = self.E_expression(features if shared else images)
            parts |= self._expressive_parts(expressive, parts["pose"])
        parts["light"] = parts["light"].unflatten(1, (9, 3))
        return FaceCodes(**parts, detail=self.E_detail(images))

    def _expressive_parts(self, code: Tensor, coarse_pose: Tensor) -> dict[str, Tensor]:
        """The expression, and the pose with what of it the expression encoder gives."""
        expression, poses = code.tensor_split([self.settings.n_exp], 1)
        head, jaw = coarse_pose.split(3, 1)
        if self.settings.expression_global_pose:
            head = poses[:, :3]
        if self.settings.expression_jaw_pose:
            jaw = poses[:, -3:]
        return {"exp": expression, "pose": torch.cat([head, jaw], 1)}


def weak_perspective(points: Tensor, cam: Tensor) -> Tensor:
    """Project by the weak-perspective camera: scale · (x + shift), y down, z away from the viewer.

    Args:
        points: [B, N, 3] metres, x to image right, y up, z to the viewer.
        cam: [B, 3] scale, x, y; DECA's c = (s, t).

    Returns:
        [B, N, 3]; x and y span [-1, 1] from edge to edge of the crop, z in the same unit.
    """
    shift = torch.cat([cam[:, 1:], torch.zeros_like(cam[:, :1])], 1)[:, None]
    flip = points.new_tensor([1.0, -1.0, -1.0])
    return cam[:, None, :1] * (points + shift) * flip
