"""How the networks are laid out and run on the device: memory order, compilation. Same results."""

from __future__ import annotations

import torch
from diffusers import UNet2DConditionModel
from torch import nn

# What torch.compile hands its graphs to; tests take one that needs no compiler.
BACKEND = "inductor"


def to_channels_last(*networks: nn.Module) -> None:
    """Store convolution weights channels last, the order of GPUs' half-precision kernels.

    The feature maps follow the weights; names, shapes and values stay as they are.
    """
    for network in networks:
        network.to(memory_format=torch.channels_last)


def compile_blocks(unet: UNet2DConditionModel) -> None:
    """Compile the UNet's blocks in place (torch.compile), one by one.

    Blocks instead of the whole: guidance enters by a hook on `conv_in`, which then stays outside,
    a change of hook compiles nothing anew, and parameters keep their names.
    """
    for block in (*unet.down_blocks, unet.mid_block, *unet.up_blocks):
        block.compile(backend=BACKEND, dynamic=False)
