"""The UNet of DiffusionRig: ADM's, with a second modulation of every block by the person's code.

ADM is Dhariwal and Nichol 2021 (https://arxiv.org/abs/2105.05233, sec. 3), DiffusionRig Ding et al.
2023 (https://arxiv.org/abs/2304.06711). Tensors have the published names, so that published weights
load key for key; no class of diffusers has the second modulation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from diffusers.models.embeddings import get_timestep_embedding
from torch import Tensor, nn
from torch.nn import functional

from sfe_core.errors import UserError

PICTURE_CHANNELS = 3
# Three maps of three channels, in this order: shaded face, normals, albedo.
BUFFER_CHANNELS = 9
IN_CHANNELS = PICTURE_CHANNELS + BUFFER_CHANNELS
BLOCKS_PER_LEVEL = 2
# The published widths, as multiples of 128, by picture size.
MULTIPLIERS: dict[int, tuple[float, ...]] = {
    64: (1, 2, 3, 4),
    128: (1, 1, 2, 3, 4),
    256: (1, 1, 2, 2, 4, 4),
    512: (0.5, 1, 1, 2, 2, 4, 4),
}
_GROUPS = 32

Layer = TypeVar("Layer", nn.Conv1d, nn.Conv2d)


class Float32GroupNorm(nn.GroupNorm):
    """Group normalisation whose sums are taken in float32, whatever the features' type."""

    def forward(self, features: Tensor) -> Tensor:
        """[B, C, …] to the same shape and type."""
        weight, bias = self.weight.float(), self.bias.float()
        normed = functional.group_norm(
            features.float(), self.num_groups, weight, bias, eps=self.eps
        )
        return normed.to(features.dtype)


class ModulatedBlock(nn.Module):
    """A residual block modulated by time and by the global code, one after the other.

    Args:
        channels: of its input.
        out_channels: of its output.
        time_width: of the embedded time.
        code_width: of the global code.
        dropout: share of features set to 0 before the last convolution.
        resample: 2 doubles the features' height and width, 0.5 halves them, 1 keeps them.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        time_width: int,
        code_width: int,
        dropout: float,
        resample: float = 1,
    ) -> None:
        super().__init__()
        self.resample = resample
        self.in_layers = nn.Sequential(
            _norm(channels), nn.SiLU(), nn.Conv2d(channels, out_channels, 3, padding=1)
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(time_width, 2 * out_channels))
        self.cond_emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(code_width, 2 * out_channels))
        self.out_layers = nn.Sequential(
            _norm(out_channels),
            nn.SiLU(),
            nn.Dropout(dropout),
            _silenced(nn.Conv2d(out_channels, out_channels, 3, padding=1)),
        )
        self.skip_connection: nn.Module = nn.Identity()
        if channels != out_channels:
            self.skip_connection = nn.Conv2d(channels, out_channels, 1)

    def forward(self, features: Tensor, time: Tensor, code: Tensor) -> Tensor:
        """[B, C, H, W], [B, time_width] and [B, code_width] to [B, C', H', W']."""
        norm, activation, convolution = self.in_layers
        hidden = self._resampled(activation(norm(features)))
        hidden = self.out_layers[0](convolution(hidden))
        scale, shift = self._modulation(time, code)
        hidden = torch.addcmul(shift, hidden, scale)
        for layer in self.out_layers[1:]:
            hidden = layer(hidden)
        return self.skip_connection(self._resampled(features)) + hidden

    def _modulation(self, time: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and shift, each [B, C', 1, 1], that do both modulations in one pass.

        (h (1 + s) + b) (1 + s') + b' = h (1 + s)(1 + s') + (b (1 + s') + b').
        """
        time_scale, time_shift = self.emb_layers(time)[:, :, None, None].chunk(2, dim=1)
        code_scale, code_shift = self.cond_emb_layers(code)[:, :, None, None].chunk(2, dim=1)
        scale = (1 + time_scale) * (1 + code_scale)
        return scale, time_shift * (1 + code_scale) + code_shift

    def _resampled(self, features: Tensor) -> Tensor:
        if self.resample == 2:
            return functional.interpolate(features, scale_factor=2, mode="nearest")
        return functional.avg_pool2d(features, 2) if self.resample == 0.5 else features


class PlaceAttention(nn.Module):
    """Self-attention of a feature map's places, added to the map.

    Args:
        channels: of the map.
        heads: each takes `channels / heads` of them; a head's queries, keys and values lie together
            in the published order.
    """

    def __init__(self, channels: int, heads: int = 1) -> None:
        super().__init__()
        self.heads = heads
        self.norm = _norm(channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = _silenced(nn.Conv1d(channels, channels, 1))

    def forward(self, features: Tensor, _time: Tensor, _code: Tensor) -> Tensor:
        """[B, C, H, W] to the same shape; time and code are not read."""
        places = features.flatten(2)
        width = places.shape[1] // self.heads
        by_head = self.qkv(self.norm(places)).reshape(-1, 3 * width, places.shape[2])
        query, key, value = by_head.chunk(3, dim=1)
        # Plain products: there are few places, and torch's fused kernels are slow to go back on.
        scores = torch.bmm(query.transpose(1, 2) / math.sqrt(width), key)
        weights = scores.softmax(dim=2, dtype=torch.float32).to(value.dtype)
        seen = torch.bmm(value, weights.transpose(1, 2)).reshape(places.shape)
        return (places + self.proj_out(seen)).reshape(features.shape)


class _Stage(nn.ModuleList):
    """Layers between two skips; plain convolutions get the features alone."""

    def forward(self, features: Tensor, time: Tensor, code: Tensor) -> Tensor:
        for layer in self:
            plain = isinstance(layer, nn.Conv2d)
            features = layer(features) if plain else layer(features, time, code)
        return features


class RigUNet(nn.Module):
    """Noise of a picture, from the noisy picture with its buffers, the time and a global code.

    Args:
        widths: channels by level, from the full size down; multiples of 32.
        attentive_levels: levels, counted from 0, whose blocks attend; the middle always does.
        base_width: width of the sinusoid of the time; four times as much of its embedding.
        code_width: of the global code.
        blocks_per_level: residual blocks a level on the way down; one more on the way up.
        heads: of each attention.
        dropout: see `ModulatedBlock`.

    Raises:
        UserError: a width is not a multiple of 32.
    """

    def __init__(
        self,
        widths: Sequence[int],
        attentive_levels: Sequence[int],
        base_width: int = 128,
        code_width: int = 64,
        blocks_per_level: int = BLOCKS_PER_LEVEL,
        heads: int = 1,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        _check(widths, base_width, heads)
        self.gradient_checkpointing = False
        self._gradient_checkpointing_func: Callable[..., Any] | None = None
        self.base_width = base_width
        time_width = 4 * base_width
        self.time_embed = nn.Sequential(
            nn.Linear(base_width, time_width), nn.SiLU(), nn.Linear(time_width, time_width)
        )

        def block(channels: int, out_channels: int, resample: float = 1) -> ModulatedBlock:
            return ModulatedBlock(channels, out_channels, time_width, code_width, dropout, resample)

        def attention(level: int) -> list[nn.Module]:
            return [PlaceAttention(widths[level], heads)] if level in attentive_levels else []

        down, skips = [_Stage([nn.Conv2d(IN_CHANNELS, widths[0], 3, padding=1)])], [widths[0]]
        for level, width in enumerate(widths):
            for _ in range(blocks_per_level):
                down.append(_Stage([block(skips[-1], width), *attention(level)]))
                skips.append(width)
            if level < len(widths) - 1:
                down.append(_Stage([block(width, width, 0.5)]))
                skips.append(width)
        self.input_blocks = nn.ModuleList(down)
        channels = widths[-1]
        middle = block(channels, channels), PlaceAttention(channels, heads)
        self.middle_block = _Stage([*middle, block(channels, channels)])
        self.output_blocks = nn.ModuleList()
        for level, width in reversed(list(enumerate(widths))):
            for place in range(blocks_per_level + 1):
                layers = [block(channels + skips.pop(), width), *attention(level)]
                channels = width
                if level and place == blocks_per_level:
                    layers.append(block(width, width, 2))
                self.output_blocks.append(_Stage(layers))
        exit_convolution = _silenced(nn.Conv2d(channels, PICTURE_CHANNELS, 3, padding=1))
        self.out = nn.Sequential(_norm(channels), nn.SiLU(), exit_convolution)

    def forward(self, stacked: Tensor, timesteps: Tensor, code: Tensor) -> Tensor:
        """Predicted noise.

        Args:
            stacked: [B, 12, H, W]: noisy picture, shaded face, normals, albedo; H and W multiples
                of 2 ** (levels - 1).
            timesteps: [B], 0 to 999.
            code: [B, code_width].

        Returns:
            [B, 3, H, W].
        """
        # Cosines first, then sines, as in ADM.
        waves = get_timestep_embedding(
            timesteps, self.base_width, flip_sin_to_cos=True, downscale_freq_shift=0
        )
        time = self.time_embed(waves.to(stacked.dtype))
        features, skips = stacked, []
        for stage in self.input_blocks:
            features = self._run(stage, features, time, code)
            skips.append(features)
        features = self._run(self.middle_block, features, time, code)
        for stage in self.output_blocks:
            joined = torch.cat([features, skips.pop()], dim=1)
            features = self._run(stage, joined, time, code)
        return self.out(features)

    def _run(self, stage: nn.Module, features: Tensor, time: Tensor, code: Tensor) -> Tensor:
        if self.gradient_checkpointing and torch.is_grad_enabled():
            assert self._gradient_checkpointing_func is not None
            return self._gradient_checkpointing_func(stage, features, time, code)
        return stage(features, time, code)


def _check(widths: Sequence[int], base_width: int, heads: int) -> None:
    if not widths or any(width % _GROUPS or width < 1 for width in widths):
        raise UserError(
            "physical network",
            f"widths {list(widths)} cannot be built",
            f"give at least one width, each a multiple of {_GROUPS}",
        )
    if base_width % 2:
        raise UserError(
            "physical network", f"time in {base_width} numbers", "give an even base width"
        )
    if heads < 1 or any(width % heads for width in widths):
        raise UserError(
            "physical network",
            f"{heads} heads do not share widths {list(widths)} evenly",
            "give a number that divides every width",
        )


def _norm(channels: int) -> Float32GroupNorm:
    return Float32GroupNorm(_GROUPS, channels)


def _silenced(layer: Layer) -> Layer:
    """The layer with weights and bias 0, so that a fresh block changes nothing."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
