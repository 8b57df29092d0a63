"""The two small recognisers of this project.

They differ in kind and in training faces, so that one can drive the loss while the other judges
the result without ever having been optimised against.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from sfe_core.emotions import EMOTIONS
from sfe_core.faces.recognition.reading import EmotionReading, fit_to_input


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


class _Residual(nn.Module):
    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.norm1 = nn.GroupNorm(8, channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.norm2 = nn.GroupNorm(8, channels_out)
        self.shortcut = nn.Conv2d(channels_in, channels_out, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.silu(self.norm1(self.conv1(x)))
        return F.silu(self.norm2(self.conv2(hidden)) + self.shortcut(x))


class TinyEmotionNet(_Recogniser):
    """The recogniser of the loss: a four-stage residual network (He et al. 2016), GroupNorm, SiLU.

    SiLU keeps its gradient smooth, which is what a loss network is for.
    """

    @register_to_config
    def __init__(self, input_size: int = 64, channels: tuple[int, ...] = (24, 48, 72, 96)) -> None:
        super().__init__()
        widths = (channels[0], *channels)
        self.stem = nn.Conv2d(3, channels[0], 3, 1, 1)
        self.stages = nn.Sequential(*(_Residual(a, b, 2) for a, b in pairwise(widths)))
        self.head = nn.Linear(channels[-1] * 4, len(EMOTIONS) + 2)

    def features(self, images: Tensor) -> Tensor:
        """[B, 3, S, S] in [-1, 1], to [B, 4 x width]: a 2 x 2 grid keeps places."""
        hidden = self.stages(F.silu(self.stem(images)))
        return F.adaptive_avg_pool2d(hidden, 2).flatten(1)


class _ConvNextBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.BatchNorm2d(channels)
        self.expand = nn.Conv2d(channels, channels * 3, 1)
        self.project = nn.Conv2d(channels * 3, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.project(F.gelu(self.expand(self.norm(self.depthwise(x)))))


class TinyEmotionJudge(_Recogniser):
    """The judge: patches and large depth-wise kernels (after ConvNeXt, Liu et al. 2022)."""

    @register_to_config
    def __init__(
        self,
        input_size: int = 64,
        channels: tuple[int, ...] = (48, 96, 128),
        blocks: tuple[int, ...] = (2, 3, 2),
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, channels[0], 4, 4)]
        for stage, (width, depth) in enumerate(zip(channels, blocks, strict=True)):
            if stage:
                layers.append(nn.Conv2d(channels[stage - 1], width, 2, 2))
            layers += [_ConvNextBlock(width) for _ in range(depth)]
        self.body = nn.Sequential(*layers)
        self.norm = nn.LayerNorm(channels[-1])
        self.head = nn.Linear(channels[-1], len(EMOTIONS) + 2)

    def features(self, images: Tensor) -> Tensor:
        """[B, 3, S, S] in [-1, 1], to [B, width of the last stage]."""
        return self.norm(self.body(images).mean(dim=(2, 3)))
