"""Inception V3 as FID uses it (Heusel et al. 2017), from torch-fidelity, with either resize rule.

torch-fidelity follows the TensorFlow graph of the original FID bit by bit; pytorch-fid resizes and
normalises a little differently, so that the two tools disagree on the same pictures. Both rules are
here, so that a published number can be met with the rule it was made by.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.interpolate_compat_tensorflow import (
    interpolate_bilinear_2d_like_tensorflow1x as _tensorflow_bilinear,
)

from sfe_core.assets import locate
from sfe_core.errors import RunError
from sfe_core.files import sha256_file

InceptionRule = Literal["torch-fidelity", "pytorch-fid"]
SIDE = 299
_RESIZE = {
    "torch-fidelity": "299 px, TensorFlow 1's bilinear, (x - 128) / 128",
    "pytorch-fid": "299 px, bilinear at half-pixel centres, not antialiased, (x - 127.5) / 127.5",
}
# In the order of the graph, from the input to the pooled 2048 features.
_STAGES = (
    "Conv2d_1a_3x3 Conv2d_2a_3x3 Conv2d_2b_3x3 MaxPool_1 Conv2d_3b_1x1 Conv2d_4a_3x3 MaxPool_2 "
    "Mixed_5b Mixed_5c Mixed_5d Mixed_6a Mixed_6b Mixed_6c Mixed_6d Mixed_6e "
    "Mixed_7a Mixed_7b Mixed_7c AvgPool"
).split()


class Inception(nn.Module):
    """[B, 3, H, W] uint8 RGB to features [B, 2048] float32."""

    def __init__(self, extractor: nn.Module, rule: InceptionRule, weights_sha256: str) -> None:
        """`extractor`: torch-fidelity's FeatureExtractorInceptionV3; the hash is of its file."""
        super().__init__()
        self.rule, self.resize, self.weights_sha256 = rule, _RESIZE[rule], weights_sha256
        stages = [getattr(extractor, name) for name in _STAGES]
        for stage in stages:
            _fold_norms(stage)
        # Convolutions are faster on pixels that lie side by side, on processors and GPUs alike.
        self.stages = nn.Sequential(*stages).to(memory_format=torch.channels_last)
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> Inception:
        """Stay in evaluation mode, whatever is asked."""
        del mode
        return super().train(False)

    def forward(self, levels: Tensor) -> Tensor:
        """Pictures of any one size; brought to 299 px by the rule."""
        pixels = levels.float()
        if self.rule == "pytorch-fid":
            size = (SIDE, SIDE)
            unit = F.interpolate(pixels / 255.0, size=size, mode="bilinear", align_corners=False)
            pixels = 2.0 * unit - 1.0
        else:
            pixels = (
                _tensorflow_bilinear(pixels, size=(SIDE, SIDE), align_corners=False) - 128.0
            ) / 128.0
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        return self.stages(pixels).flatten(1)


def load_inception(rule: InceptionRule, weights: Path | None = None) -> Inception:
    """The network with its published weights; nothing is downloaded.

    Args:
        rule: how pictures are brought to 299 px.
        weights: the file; None = the asset `inception`.

    Raises:
        UserError: the asset is missing.
        RunError: the file holds something else.
    """
    path = weights or locate("inception")
    try:
        # The constructor reads the file as any pickle; what passes here names nothing but tensors.
        torch.load(path, map_location="cpu", weights_only=True)
        extractor = FeatureExtractorInceptionV3("inception", ["2048"], str(path))
    except Exception as error:  # torch raises many unrelated types for torn files
        raise RunError(
            path, f"does not hold Inception's weights ({error})", "`sfe assets fetch inception`"
        ) from error
    return Inception(extractor, rule, sha256_file(path))


def _fold_norms(stage: nn.Module) -> None:
    """Put each batch norm into the convolution before it: the same numbers, fewer passes."""
    for module in list(stage.modules()):
        conv, norm = getattr(module, "conv", None), getattr(module, "bn", None)
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            module.conv = fuse_conv_bn_eval(conv, norm)
            module.bn = nn.Identity()
