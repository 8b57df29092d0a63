"""DISTS, a distance that forgives moved texture (Ding et al. 2020, https://arxiv.org/abs/2004.07728).

Backbone: torchvision's VGG16 (asset `vgg16`), max-pooling replaced by L2 pooling; weights of the
channels: the authors' package DISTS-pytorch. Nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import vgg16
from torchvision.transforms.v2.functional import normalize

from sfe_core.assets import locate
from sfe_core.errors import RunError

# Indices into VGG16's layers: the ReLU after which each of the five stages ends; pooling follows.
_STAGE_ENDS = (4, 9, 16, 23, 30)
_CHANNELS = (3, 64, 128, 256, 512, 512)
_IMAGENET_MEAN, _IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
_STABLE = 1e-6  # c1 and c2 of the paper's equations 3 and 4


class L2Pool(nn.Module):
    """Blurred root mean square at half the size (Hénaff & Simoncelli 2016), 3 × 3 Hann window."""

    window: Tensor  # [C, 1, 3, 3]

    def __init__(self, channels: int) -> None:
        super().__init__()
        window = torch.from_numpy(np.outer(*[np.hanning(5)[1:-1]] * 2)).float()
        self.register_buffer("window", (window / window.sum()).expand(channels, 1, 3, 3).clone())

    def forward(self, features: Tensor) -> Tensor:
        """[B, C, H, W] to [B, C, ceil(H / 2), ceil(W / 2)]."""
        squares = F.conv2d(features**2, self.window, stride=2, padding=1, groups=len(self.window))
        return (squares + 1e-12).sqrt()


class Dists(nn.Module):
    """Two batches [B, 3, H, W] in [-1, 1] to a distance per pair [B]; 0 if equal.

    Pictures are taken at their own size: the published scores are of a short side of 256 px, those
    of an evaluation are of its resolution, which stands beside them.
    """

    alpha: Tensor  # [1475], of texture
    beta: Tensor  # [1475], of structure; both together sum to 1

    def __init__(self, backbone: nn.Sequential, alpha: Tensor, beta: Tensor) -> None:
        """`backbone`: VGG16's `features`; alpha (texture), beta (structure): [1, 1475, 1, 1]."""
        super().__init__()
        stages, start = [], 0
        for place, end in enumerate(_STAGE_ENDS):
            layers = list(backbone[start:end])
            if place:  # each stage but the first begins with what was a max-pooling
                layers[0] = L2Pool(_CHANNELS[place])
            stages.append(nn.Sequential(*layers))
            start = end
        self.stages = nn.ModuleList(stages)
        total = alpha.sum() + beta.sum()
        self.register_buffer("alpha", (alpha / total).flatten())
        self.register_buffer("beta", (beta / total).flatten())
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor, others: Tensor) -> Tensor:
        """One minus the weighted similarity of means (texture) and of covariances (structure)."""
        similarity = torch.zeros(len(images), device=images.device)
        alphas, betas = self.alpha.split(_CHANNELS), self.beta.split(_CHANNELS)
        pairs = zip(self._features(images), self._features(others), alphas, betas, strict=True)
        for x, y, alpha, beta in pairs:
            mean_x, mean_y = x.mean((2, 3)), y.mean((2, 3))
            var_x = x.var((2, 3), correction=0)
            var_y = y.var((2, 3), correction=0)
            covariance = (x * y).mean((2, 3)) - mean_x * mean_y
            texture = (2 * mean_x * mean_y + _STABLE) / (mean_x**2 + mean_y**2 + _STABLE)
            structure = (2 * covariance + _STABLE) / (var_x + var_y + _STABLE)
            similarity = similarity + (alpha * texture + beta * structure).sum(1)
        return 1.0 - similarity

    def _features(self, images: Tensor) -> Iterator[Tensor]:
        unit = (images + 1.0) / 2.0
        yield unit
        hidden = normalize(unit, _IMAGENET_MEAN, _IMAGENET_STD)
        for stage in self.stages:
            hidden = stage(hidden)
            # VGG's ReLUs work in place: the next stage must not change what was given away.
            yield hidden.clone()


def load_dists(backbone: Path | None = None) -> Dists:
    """DISTS with its published weights.

    Args:
        backbone: file of torchvision's VGG16; None = the asset `vgg16`.

    Raises:
        UserError: VGG16 or the package DISTS-pytorch is missing.
        RunError: a file holds something else.
    """
    path, weights = backbone or locate("vgg16"), locate("dists")
    # Without memory of its own: drawing 138 million random numbers takes longer than reading them.
    with torch.device("meta"):
        network = vgg16(weights=None, init_weights=False)
    try:
        given = torch.load(path, map_location="cpu", weights_only=True)
        network.load_state_dict(given, strict=True, assign=True)
        state = torch.load(weights, map_location="cpu", weights_only=True)
        return Dists(network.features, state["alpha"], state["beta"])
    except Exception as error:  # torch raises many unrelated types for torn files
        raise RunError(path, f"no weights of DISTS ({error})", "`sfe assets verify`") from error
