"""EmoNet (Toisoul et al., Nature Machine Intelligence 2021), for its published weights.

A face-alignment network of two stacked hourglasses, whose heat-maps say where to look, and an
emotion head on top. Module names follow the keys of `emonet_8.pth` and `emonet_5.pth`.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from pickle import UnpicklingError

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError
from sfe_core.faces.recognition.reading import EmotionReading, fit_to_input
from sfe_core.strict_loading import load_strictly

INPUT_PX = 256
_WIDTH = 256
_LANDMARKS = 68
_DEPTH = 4


class ConvBlock(nn.Module):
    """Three pre-activated 3x3 convolutions to 1/2, 1/4 and 1/4 of the width, concatenated."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        widths = (inputs, outputs // 2, outputs // 4, outputs // 4)
        for place, (a, b) in enumerate(pairwise(widths), start=1):
            self.add_module(f"bn{place}", nn.BatchNorm2d(a))
            self.add_module(f"conv{place}", nn.Conv2d(a, b, 3, padding=1, bias=False))
        self.downsample: nn.Module = nn.Identity()
        if inputs != outputs:
            self.downsample = nn.Sequential(
                nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, outputs, 1, bias=False)
            )

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, H, W]."""
        parts, hidden = [], x
        for place in (1, 2, 3):
            hidden = getattr(self, f"conv{place}")(F.relu(getattr(self, f"bn{place}")(hidden)))
            parts.append(hidden)
        return torch.cat(parts, 1) + self.downsample(x)


class Hourglass(nn.Module):
    """Four levels down by max-pooling, up by nearest neighbour, with a branch across each."""

    def __init__(self) -> None:
        super().__init__()
        for level in range(_DEPTH, 0, -1):
            for branch in ("b1", "b2", "b3"):
                self.add_module(f"{branch}_{level}", ConvBlock(_WIDTH, _WIDTH))
        self.b2_plus_1 = ConvBlock(_WIDTH, _WIDTH)

    def forward(self, x: Tensor, level: int = _DEPTH) -> Tensor:
        """[B, 256, H, W] to the same shape; H and W are multiples of 16."""
        across = getattr(self, f"b1_{level}")(x)
        down = getattr(self, f"b2_{level}")(F.max_pool2d(x, 2))
        inner = self(down, level - 1) if level > 1 else self.b2_plus_1(down)
        up = getattr(self, f"b3_{level}")(inner)
        return across + F.interpolate(up, scale_factor=2, mode="nearest")


class EmoNet(nn.Module):
    """Emotion, valence, arousal and landmark heat-maps of a face crop.

    Args:
        classes: 8 (the emotions of `EMOTIONS`) or 5 (its first five).

    Attributes:
        reads_affect: it reads valence and arousal.
    """

    reads_affect = True
    face_square = None
    input_px = INPUT_PX

    def __init__(self, classes: int = 8) -> None:
        super().__init__()
        self.classes = classes
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3)
        self.bn1 = nn.BatchNorm2d(64)
        self.conv2, self.conv3 = ConvBlock(64, 128), ConvBlock(128, 128)
        self.conv4 = ConvBlock(128, _WIDTH)
        for stack in (0, 1):
            self.add_module(f"m{stack}", Hourglass())
            self.add_module(f"top_m_{stack}", ConvBlock(_WIDTH, _WIDTH))
            self.add_module(f"conv_last{stack}", nn.Conv2d(_WIDTH, _WIDTH, 1))
            self.add_module(f"bn_end{stack}", nn.BatchNorm2d(_WIDTH))
            self.add_module(f"l{stack}", nn.Conv2d(_WIDTH, _LANDMARKS, 1))
        self.bl0 = nn.Conv2d(_WIDTH, _WIDTH, 1)
        self.al0 = nn.Conv2d(_LANDMARKS, _WIDTH, 1)
        self.conv1x1_input_emo_2 = nn.Conv2d(3 * _WIDTH, _WIDTH, 1)
        steps = [part for _ in range(4) for part in (ConvBlock(_WIDTH, _WIDTH), nn.MaxPool2d(2))]
        self.emo_net_2 = nn.Sequential(*steps)
        self.emo_fc_2 = nn.Sequential(
            nn.Linear(_WIDTH, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, classes + 2)
        )

    def _stack(self, index: int, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = getattr(self, f"top_m_{index}")(getattr(self, f"m{index}")(x))
        hidden = getattr(self, f"conv_last{index}")(hidden)
        hidden = F.relu(getattr(self, f"bn_end{index}")(hidden))
        return hidden, getattr(self, f"l{index}")(hidden)

    def read(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The network as published: [B, 3, 256, 256] in [0, 1] to its raw outputs.

        Returns:
            [B, classes + 2] logits, valence, arousal; [B, 256] pooled features; [B, 68, 64, 64]
            heat-maps.

        Raises:
            ValueError: another shape; the last pooling would fit no other side.
        """
        if images.shape[1:] != (3, INPUT_PX, INPUT_PX):
            raise ValueError(f"{list(images.shape)}: EmoNet reads [B, 3, {INPUT_PX}, {INPUT_PX}]")
        stem = F.max_pool2d(self.conv2(F.relu(self.bn1(self.conv1(images)))), 2)
        stem = self.conv4(self.conv3(stem))
        first, first_maps = self._stack(0, stem)
        first = self.bl0(first)
        second, maps = self._stack(1, stem + first + self.al0(first_maps))
        attention = maps.sum(1, keepdim=True)
        joined = torch.cat([stem, first * attention, second * attention], 1)
        pooled = F.avg_pool2d(self.emo_net_2(self.conv1x1_input_emo_2(joined)), 4).flatten(1)
        return self.emo_fc_2(pooled), pooled, maps

    def forward(self, images: Tensor) -> EmotionReading:
        """Read faces of any size.

        Args:
            images: [B, 3, H, W], RGB in [-1, 1]; resized and moved to [0, 1] here.
        """
        out, features, _ = self.read(fit_to_input(images, INPUT_PX).add(1).div(2))
        return EmotionReading(out[:, :-2], out[:, -2], out[:, -1], features)


def load_emonet(path: Path) -> EmoNet:
    """Load `emonet_8.pth` or `emonet_5.pth` as published, frozen, in evaluation mode.

    Raises:
        UserError: the file is not an EmoNet, naming the first keys that do not fit.
    """
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        state = {key.removeprefix("module."): value for key, value in stored.items()}
        classes = state["emo_fc_2.3.weight"].shape[0] - 2
    except (OSError, RuntimeError, KeyError, AttributeError, UnpicklingError) as error:
        raise UserError(path, f"is not an EmoNet checkpoint ({error})", "fetch it again") from error
    if not 0 < classes <= len(EMOTIONS):
        raise UserError(path, f"tells {classes} emotions apart", "expected emonet_8 or emonet_5")
    network = EmoNet(classes)
    load_strictly(network, state, path)
    return network.eval().requires_grad_(False)
