"""What a person looks like, as one code: hair, skin and background that no buffer shows."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

EncoderKind = Literal["resnet18", "resnet50"]

_BLOCKS: dict[EncoderKind, tuple[type[BasicBlock | Bottleneck], list[int]]] = {
    "resnet18": (BasicBlock, [2, 2, 2, 2]),
    "resnet50": (Bottleneck, [3, 4, 6, 3]),
}
_PUBLISHED_WIDTH = 64


class AppearanceEncoder(ResNet):
    """A picture to its code: torchvision's ResNet, from random weights, with its names.

    It is fed the picture in [-1, 1] as it is, without ImageNet's normalisation (Ding et al. 2023,
    https://arxiv.org/abs/2304.06711).

    Args:
        kind: which ResNet.
        latent_width: numbers of the code.
        width: channels of the first level, 64 as published; the others have 2, 4 and 8 times as
            many. Other widths are for small networks.
    """

    def __init__(
        self, kind: EncoderKind = "resnet18", latent_width: int = 64, width: int = _PUBLISHED_WIDTH
    ) -> None:
        block, counts = _BLOCKS[kind]
        super().__init__(block, counts, num_classes=latent_width)
        self.frozen = False
        if width != _PUBLISHED_WIDTH:
            self._narrow(block, counts, latent_width, width)

    def _narrow(
        self, block: type[BasicBlock | Bottleneck], counts: list[int], latent: int, width: int
    ) -> None:
        self.inplanes = width
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = ResNet._make_layer(self, block, width, counts[0])
        self.layer2 = ResNet._make_layer(self, block, 2 * width, counts[1], stride=2)
        self.layer3 = ResNet._make_layer(self, block, 4 * width, counts[2], stride=2)
        self.layer4 = ResNet._make_layer(self, block, 8 * width, counts[3], stride=2)
        self.fc = nn.Linear(8 * width * block.expansion, latent)
        # As torchvision starts the layers that these replace.
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, pictures: Tensor) -> Tensor:
        """[B, 3, H, W] in [-1, 1] to [B, latent_width]."""
        return super().forward(pictures)

    def train(self, mode: bool = True) -> AppearanceEncoder:
        """Go to training or evaluation mode; a frozen encoder stays in evaluation mode."""
        super().train(mode and not self.frozen)
        return self

    def freeze(self) -> None:
        """Stop all learning: weights, and the batch statistics too, through every later `train()`.

        Left in training mode, a person's few photos would shift the running averages at every step,
        and the code of one photo would depend on the others of its batch.
        """
        self.frozen = True
        self.requires_grad_(False)
        self.eval()
