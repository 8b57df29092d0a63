"""Perceptual distances: LPIPS and ST-LPIPS. Nothing is downloaded.

Zhang et al. 2018, https://arxiv.org/abs/1801.03924; Ghildyal & Liu 2022,
https://arxiv.org/abs/2207.13686.
"""

from __future__ import annotations

import importlib
import importlib.resources
import importlib.util
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from sfe_core.assets import locate
from sfe_core.errors import RunError, UserError

# LPIPS's own linear weights come in its wheel; its ImageNet backbones are assets.
BACKBONE_ASSETS = {"lpips-vgg": "vgg16", "lpips-alex": "alexnet"}
PERCEPTUAL_NETWORKS = ("st-lpips", *BACKBONE_ASSETS)


class PerceptualDistance(nn.Module):
    """Two batches [B, 3, H, W] in [-1, 1] to a distance per pair, [B], at least 0; 0 if equal.

    Frozen, and in evaluation mode for good (training mode would switch dropout on).
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> PerceptualDistance:
        """Stay in evaluation mode, whatever is asked."""
        del mode
        return super().train(False)

    def forward(self, images: Tensor, others: Tensor) -> Tensor:
        """[B] float32; images are taken as they are, at their own size and range."""
        if images.device.type == "cpu":
            # Spares 20 to 30 % of ST-LPIPS and its gradient at 128 px: pooling is vectorised.
            images, others = (
                one.contiguous(memory_format=torch.channels_last) for one in (images, others)
            )
        return self.network(images, others).reshape(images.shape[0]).float()


def load_perceptual(name: str) -> PerceptualDistance:
    """The perceptual distance of that name: st-lpips, lpips-vgg or lpips-alex.

    Raises:
        UserError: an unknown name, the package is not installed, or a backbone asset is missing.
    """
    if name == "st-lpips":
        return PerceptualDistance(_st_lpips())
    if name in BACKBONE_ASSETS:
        return PerceptualDistance(_lpips(name))
    raise UserError(
        "perceptual_network", f"{name!r} is unknown", f"allowed: {', '.join(PERCEPTUAL_NETWORKS)}"
    )


def require_perceptual(name: str) -> None:
    """Check that `load_perceptual(name)` will find its package and weights, without loading them.

    Raises:
        UserError: as `load_perceptual`.
    """
    package = "stlpips_pytorch" if name == "st-lpips" else "lpips"
    if importlib.util.find_spec(package) is None:
        raise _not_installed(package)
    if name in BACKBONE_ASSETS:
        locate(BACKBONE_ASSETS[name])


def _st_lpips() -> nn.Module:
    """The shift-tolerant AlexNet variant, backbone and linear weights from its wheel."""
    module = _package("stlpips_pytorch.stlpips")
    network = module.LPIPS(net="alex", variant="shift_tolerant", pretrained=False, verbose=False)
    package = str(importlib.resources.files("stlpips_pytorch"))
    weights = Path(package, "weights", "vST0.0", "alex_shift_tolerant.pth")
    state = torch.load(weights, map_location="cpu", weights_only=True)
    missing, unexpected = network.load_state_dict(state, strict=False)
    # "lins" lists lin0 … lin4 a second time; everything else must be in the file.
    if unexpected or any(not name.startswith("lins.") for name in missing):
        raise RunError(weights, "does not hold ST-LPIPS weights", "install stlpips_pytorch again")
    return network


def _lpips(name: str) -> nn.Module:
    weights = locate(BACKBONE_ASSETS[name])
    module = _package("lpips")
    kind = name.removeprefix("lpips-")
    # pnet_rand keeps torchvision from downloading; the backbone's weights are put in below.
    network = module.LPIPS(net=kind, pnet_rand=True, verbose=False)
    state = torch.load(weights, map_location="cpu", weights_only=True)
    backbone = {}
    for full_name in network.net.state_dict():
        # "slice2.5.weight" is torchvision's "features.5.weight": the slices keep its numbering.
        backbone[full_name] = state[f"features.{full_name.split('.', 1)[1]}"]
    network.net.load_state_dict(backbone, strict=True)
    return network


def _package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise _not_installed(str(error)) from error


def _not_installed(what: str) -> UserError:
    return UserError(
        "perceptual_network", f"not installed: {what}", "run `pip install 'sfe[offline]'`"
    )
