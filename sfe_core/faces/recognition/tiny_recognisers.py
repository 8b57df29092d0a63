"""The two small recognisers of this project.

They differ in kind and in training faces, so that one can drive the loss while the other judges
the result without ever having been optimised against.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from sfe_core.emotions import EMOTIONS
from sfe_core.faces.recognition.reading import EmotionReading, fit_to_input
from sfe_core.faces.recognition.tiny_networks import make_stem, patch_stages, residual_stages


class _Recogniser(ModelMixin, ConfigMixin):
    """Shared door and head: images in, `EmotionReading` out."""

    classes = len(EMOTIONS)
    reads_affect = True
    face_square = None
    head: nn.Linear

    @property
    def input_px(self) -> int:
        """Side of the pictures that the network sees."""
        return int(self.config.input_size)

    def features(self, images: Tensor) -> Tensor:
        """[B, 3, S, S] in [-1, 1] at the network's own side S, to [B, D]."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> EmotionReading:
        """Read faces of any size.

        Args:
            images: [B, 3, H, W], RGB in [-1, 1], cropped as `preprocess` crops.
        """
        features = self.features(fit_to_input(images, self.input_px))
        out = self.head(features)
        classes = len(EMOTIONS)
        affect = torch.tanh(out[:, classes:])
        return EmotionReading(out[:, :classes], affect[:, 0], affect[:, 1], features)


class TinyEmotionNet(_Recogniser):
    """The recogniser of the loss: a residual network."""

    @register_to_config
    def __init__(
        self, input_size: int = 128, channels: tuple[int, ...] = (32, 48, 80, 112)
    ) -> None:
        super().__init__()
        self.stem = make_stem(input_size, channels[0])
        self.stages = residual_stages(channels)
        self.head = nn.Linear(channels[-1] * 4, len(EMOTIONS) + 2)

    def features(self, images: Tensor) -> Tensor:
        """[B, 3, S, S] in [-1, 1], to [B, 4 x width]: a 2 x 2 grid keeps places."""
        hidden = self.stages(F.silu(self.stem(images)))
        return F.adaptive_avg_pool2d(hidden, 2).flatten(1)


class TinyEmotionJudge(_Recogniser):
    """The judge: patches and large depth-wise kernels."""

    @register_to_config
    def __init__(
        self,
        input_size: int = 128,
        channels: tuple[int, ...] = (32, 64, 96, 128),
        blocks: tuple[int, ...] = (1, 2, 3, 2),
    ) -> None:
        super().__init__()
        self.body = patch_stages(channels, blocks)
        self.norm = nn.LayerNorm(channels[-1])
        self.head = nn.Linear(channels[-1], len(EMOTIONS) + 2)

    def features(self, images: Tensor) -> Tensor:
        """[B, 3, S, S] in [-1, 1], to [B, width of the last stage]."""
        return self.norm(self.body(images).mean(dim=(2, 3)))
