"""Random weights in the layout of the published Inception, for where the real ones are not."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn


def random_inception(path: Path, seed: int = 0) -> Path:
    """Write a state dict as torch-fidelity and pytorch-fid read it; features are of the order 1."""
    from pytorch_fid.inception import FIDInceptionA, FIDInceptionC, FIDInceptionE_1, FIDInceptionE_2
    from torchvision.models import inception_v3

    network = inception_v3(num_classes=1008, aux_logits=False, weights=None, init_weights=False)
    network.Mixed_5b = FIDInceptionA(192, pool_features=32)
    network.Mixed_5c = FIDInceptionA(256, pool_features=64)
    network.Mixed_5d = FIDInceptionA(288, pool_features=64)
    for name, width in (("b", 128), ("c", 160), ("d", 160), ("e", 192)):
        setattr(network, f"Mixed_6{name}", FIDInceptionC(768, channels_7x7=width))
    network.Mixed_7b, network.Mixed_7c = FIDInceptionE_1(1280), FIDInceptionE_2(2048)
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.weight[0].numel()
            module.weight.data.normal_(0.0, (2.0 / fan_in) ** 0.5, generator=generator)
        if isinstance(module, nn.BatchNorm2d):
            module.bias.data.normal_(0.0, 0.1, generator=generator)
            module.running_var.uniform_(0.8, 1.2, generator=generator)
    torch.save(network.state_dict(), path)
    return path
