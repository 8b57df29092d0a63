"""Two small emotion recognisers that others trained on photos of real people.

They never saw a rendered face, so that they can witness what the project's own judge says of them.
Neither reads contempt, valence or arousal. Module names are those that
`sfe_core.assets.conversion` gives to the tensors of the published files.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfe_core.emotions import EMOTIONS
from sfe_core.faces.recognition.reading import EmotionReading, FaceSquare, fit_to_input
from sfe_core.faces.tensorflow_padding import SameConv2d, pad_same
from sfe_core.strict_loading import load_strictly, read_tensors

# All but contempt, which is the last.
_KNOWN = EMOTIONS[:-1]


class _Separable(nn.Module):
    """A 3x3 convolution of each channel, then a 1x1 of all, with the bias there or without."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, bias: bool = False) -> None:
        super().__init__()
        self.depthwise = SameConv2d(inputs, inputs, 3, stride, groups=inputs, bias=False)
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(x))


class _Outside(nn.Module):
    """Shared door: images in, `EmotionReading` of the seven emotions out.

    Attributes:
        order: emotions by the place of their logit in the published head.
    """

    classes = len(_KNOWN)
    reads_affect = False
    input_px: int
    face_square: FaceSquare
    order: tuple[str, ...]

    def logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The same images to [B, 7] logits in the published order, and [B, D] features."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> EmotionReading:
        """Read faces of any size.

        Args:
            images: [B, 3, H, W], RGB in [-1, 1], cut out by `face_square`.
        """
        logits, features = self.logits(fit_to_input(images, self.input_px))
        unread = logits.new_full((len(logits),), torch.nan)
        ours = [self.order.index(emotion) for emotion in _KNOWN]
        return EmotionReading(logits[:, ours], unread, unread, features)


class _DenseBlock(nn.Module):
    """Four convolutions, each of which sees the sum of all before it (after Huang et al. 2017)."""

    def __init__(self, inputs: int, outputs: int, first: bool) -> None:
        super().__init__()
        self.conv0 = (
            SameConv2d(inputs, outputs, 3, stride=2)
            if first
            else _Separable(inputs, outputs, stride=2, bias=True)
        )
        for place in (1, 2, 3):
            self.add_module(f"conv{place}", _Separable(outputs, outputs, bias=True))

    def forward(self, x: Tensor) -> Tensor:
        whole = F.relu(self.conv0(x))
        for place in (1, 2, 3):
            # The sum goes on before the rectifier, which only what reads it sees.
            whole = whole + getattr(self, f"conv{place}")(F.relu(whole))
        return F.relu(whole)


class FaceApiEmotion(_Outside):
    """The expression network of face-api: four dense blocks, 82 thousand parameters.

    Of faces from public photos; its authors give no measure. The square is the package's own: the
    box of the 68 landmarks and a tenth of it on each side.
    """

    input_px = 112
    face_square = FaceSquare(scale=1.2)
    order = ("neutral", "happy", "sad", "anger", "fear", "disgust", "surprise")
    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 32, 64, 128, 256)
        for place, (a, b) in enumerate(pairwise(widths)):
            self.add_module(f"dense{place}", _DenseBlock(a, b, first=place == 0))
        self.fc = nn.Linear(widths[-1], len(_KNOWN))
        self.register_buffer("mean", torch.tensor([122.782, 117.001, 104.298]), persistent=False)

    def logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See `_Outside.logits`."""
        levels = (images + 1) * 127.5
        hidden = (levels - self.mean.view(1, 3, 1, 1)) / 255
        for place in range(4):
            hidden = getattr(self, f"dense{place}")(hidden)
        features = hidden.mean(dim=(2, 3))
        return self.fc(features), features


class _XceptionBlock(nn.Module):
    """Two separable convolutions and a maximum, beside a 1x1 convolution of stride 2."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride=2, bias=False)
        self.conv1, self.conv2 = _Separable(inputs, outputs), _Separable(outputs, outputs)
        self.shortcut_norm, self.norm1, self.norm2 = (_norm(outputs) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        largest = F.max_pool2d(pad_same(hidden, 3, 2, value=-torch.inf), 3, 2)
        return largest + self.shortcut_norm(self.shortcut(x))


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


class FerEmotion(_Outside):
    """The mini-Xception of Arriaga et al. 2017 (https://arxiv.org/abs/1710.07557), 58 thousand.

    Trained on FER2013, where its paper gives 66 % of seven emotions right; people agree on 65 %.
    It reads luminance alone. The square is near that of common face detectors, from the brow's
    middle to the chin; its package widens a Haar cascade's by ten pixels.
    """

    input_px = 64
    face_square = FaceSquare(scale=1.2, lift=0.05)
    order = ("anger", "disgust", "fear", "happy", "sad", "surprise", "neutral")
    luma: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, bias=False)
        self.conv2 = nn.Conv2d(8, 8, 3, bias=False)
        self.norm1, self.norm2 = _norm(8), _norm(8)
        widths = (8, 16, 32, 64, 128)
        self.blocks = nn.Sequential(*(_XceptionBlock(a, b) for a, b in pairwise(widths)))
        self.head = nn.Conv2d(widths[-1], len(_KNOWN), 3, padding=1)
        # ITU-R BT.601, as OpenCV makes grey of colours.
        self.register_buffer("luma", torch.tensor([0.299, 0.587, 0.114]), persistent=False)

    def logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See `_Outside.logits`."""
        grey = (images * self.luma.view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
        hidden = F.relu(self.norm1(self.conv1(grey)))
        hidden = self.blocks(F.relu(self.norm2(self.conv2(hidden))))
        return self.head(hidden).mean(dim=(2, 3)), hidden.mean(dim=(2, 3))


def load_outside(path: Path) -> _Outside:
    """Load either from its converted file, frozen, in evaluation mode.

    Raises:
        UserError: the file holds neither.
    """
    state = read_tensors(path)
    network = FaceApiEmotion() if "fc.weight" in state else FerEmotion()
    load_strictly(network, state, path)
    return network.eval().requires_grad_(False)
