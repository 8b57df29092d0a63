"""How a network lies in memory and which kernels it takes, by device; it computes the same."""

from __future__ import annotations

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor
from torch import nn


def to_channels_last(*networks: nn.Module) -> None:
    """Store convolution weights channels last, the order of GPUs' half-precision kernels.

    The feature maps follow the weights; names, shapes and values stay as they are.
    """
    for network in networks:
        network.to(memory_format=torch.channels_last)


def plain_attention(network: nn.Module) -> None:
    """Let attention multiply matrices plainly: for training on the CPU, on few tokens.

    There the backward pass of torch's flash kernel takes several times as long. Plain products hold
    a score for every pair of tokens, so on many tokens the kernel is the better choice.
    """
    for module in network.modules():
        if isinstance(module, Attention):
            module.set_processor(AttnProcessor())


def has_bfloat16() -> bool:
    """Whether this CPU has instructions for bfloat16; on others it is slower than float32."""
    return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
