"""Guidance encoders: face maps to features that are added to the UNet's first convolution.

The layers and their names are those of Champ (Zhu et al. 2024, https://arxiv.org/abs/2403.14781,
sec. 3.2), so that encoders published in that layout load by name. Of its attentions only the last
one runs; the others exist for the names and never train.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise

import torch
from diffusers import ConfigMixin, ModelMixin, Transformer2DModel, UNet2DConditionModel
from diffusers.configuration_utils import register_to_config
from torch import nn
from torch.nn import functional

from sfe_core.errors import RunError, UserError

_HEADS = 8
_GROUPS = 32


class GuidanceEncoder(nn.Module):
    """One map, [B, 3, H, W] in [0, 1], to features [B, out_channels, H / f, W / f].

    f = 2 ** (len(block_channels) - 1). The last convolution starts at zero (as in ControlNet,
    https://arxiv.org/abs/2302.05543), so that an untrained encoder changes nothing.

    Args:
        block_channels: widths; each after the first halves the map. Multiples of 8.
        out_channels: width of the UNet's first convolution.
    """

    def __init__(self, block_channels: Sequence[int], out_channels: int) -> None:
        super().__init__()
        if len(block_channels) < 2 or any(width % _HEADS for width in block_channels):
            raise UserError(
                "guidance.block_channels",
                f"{list(block_channels)} cannot be built",
                f"give at least two widths, each a multiple of {_HEADS}",
            )
        self.conv_in = nn.Conv2d(3, block_channels[0], 3, padding=1)
        self.blocks, self.attentions = nn.ModuleList(), nn.ModuleList()
        for narrow, wide in pairwise(block_channels):
            self.blocks.append(nn.Conv2d(narrow, narrow, 3, padding=1))
            self.attentions.append(_attention(narrow, groups=1))
            self.blocks.append(nn.Conv2d(narrow, wide, 3, padding=1, stride=2))
            self.attentions.append(_attention(wide, groups=_groups(wide)))
        last = block_channels[-1]
        self.guidance_attention = _attention(last, groups=_groups(last))
        self.conv_out = nn.Conv2d(last, out_channels, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)
        assert self.conv_out.bias is not None
        nn.init.zeros_(self.conv_out.bias)
        for unused in (*self.attentions[:-1], self.guidance_attention):
            unused.requires_grad_(False)
        self._keep_contrast()

    def _keep_contrast(self) -> None:
        """He et al. 2015 (https://arxiv.org/abs/1502.01852, eq. 10), biases zero.

        With torch's default, SiLU after SiLU shrinks what the map shows below the biases: features
        of different faces differed by a hundredth of their spread, and hundreds of updates went by
        before guidance did anything.
        """
        for convolution in (self.conv_in, *self.blocks):
            assert isinstance(convolution, nn.Conv2d)
            assert convolution.bias is not None
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            nn.init.zeros_(convolution.bias)

    def forward(self, guidance_map: torch.Tensor) -> torch.Tensor:
        """[B, 3, H, W] in [0, 1] to [B, out_channels, H / f, W / f]."""
        features = functional.silu(self.conv_in(guidance_map))
        for block in self.blocks:
            features = functional.silu(block(features))
        features = self.attentions[-1](features, return_dict=False)[0]
        return self.conv_out(features)


def _groups(channels: int) -> int:
    return 1 if channels % _GROUPS else _GROUPS


def _attention(channels: int, groups: int) -> Transformer2DModel:
    return Transformer2DModel(
        num_attention_heads=_HEADS,
        attention_head_dim=channels // _HEADS,
        in_channels=channels,
        norm_num_groups=groups,
        cross_attention_dim=None,
    )


class GuidanceBank(ModelMixin, ConfigMixin):
    """One encoder per map; their features are summed.

    Args:
        maps: names of the maps, in order.
        block_channels: see `GuidanceEncoder`.
        out_channels: width of the UNet's first convolution.
    """

    @register_to_config
    def __init__(
        self,
        maps: Sequence[str] = ("landmarks", "depth", "mesh"),
        block_channels: Sequence[int] = (16, 32, 96, 256),
        out_channels: int = 320,
    ) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict(
            {name: GuidanceEncoder(block_channels, out_channels) for name in maps}
        )

    @property
    def map_names(self) -> tuple[str, ...]:
        """The maps this bank was built for."""
        return tuple(self.encoders)

    @property
    def factor(self) -> int:
        """Map pixels per feature, each way."""
        return 2 ** (len(self.config["block_channels"]) - 1)

    def forward(
        self,
        maps: Mapping[str, torch.Tensor],
        strengths: Mapping[str, float] | None = None,
        keep: Sequence[bool] | None = None,
    ) -> torch.Tensor:
        """Sum the encoded maps.

        Args:
            maps: name to [B, 3, H, W] in [0, 1]; maps of the bank may be left out.
            strengths: name to factor, 1 where not named; a map of strength 0 is not encoded.
            keep: B flags; False leaves an image without any guidance (guidance dropout).

        Returns:
            [B, out_channels, H / f, W / f], to be added to the output of the UNet's `conv_in`.

        Raises:
            UserError: a map or a strength has a name that this bank does not know.
        """
        strengths = dict(strengths or {})
        for name in (*maps, *strengths):
            if name not in self.encoders:
                raise UserError(
                    "guidance", f"no encoder for map {name!r}", f"known: {', '.join(self.encoders)}"
                )
        if not maps:
            raise UserError("guidance", "no map given", f"known: {', '.join(self.encoders)}")
        if keep is None or all(keep):
            return self._encode(maps, strengths)
        places = [place for place, wanted in enumerate(keep) if wanted]
        if places:
            rows = torch.tensor(places, device=next(iter(maps.values())).device)
            encoded = self._encode({name: image[rows] for name, image in maps.items()}, strengths)
            empty = encoded.new_zeros((len(keep), *encoded.shape[1:]))
            return empty.index_copy(0, rows, encoded)
        # Every encoder takes part in every pass: DDP waits for the gradients of all of them.
        return 0.0 * self._encode(maps, strengths)

    def _encode(
        self, maps: Mapping[str, torch.Tensor], strengths: Mapping[str, float]
    ) -> torch.Tensor:
        total = None
        for name, encoder in self.encoders.items():
            strength = strengths.get(name, 1.0)
            if name not in maps or strength == 0:
                continue
            features = encoder(maps[name].to(self.dtype))
            features = features if strength == 1 else strength * features
            total = features if total is None else total + features
        return self._nothing(next(iter(maps.values()))) if total is None else total

    def _nothing(self, like: torch.Tensor) -> torch.Tensor:
        batch, _, height, width = like.shape
        shape = (batch, self.config["out_channels"], height // self.factor, width // self.factor)
        return torch.zeros(shape, dtype=self.dtype, device=like.device)


@contextmanager
def added_to_conv_in(unet: UNet2DConditionModel, features: torch.Tensor | None) -> Iterator[None]:
    """Within the block, `unet.conv_in` returns its own output plus `features`; None adds nothing.

    `features` is [B, C, h, w]. A UNet batch of 2 B is read as the pair of classifier-free
    guidance: its first half, the unconditional one, gets none, as when training drops guidance.
    The UNet itself is untouched: it keeps its class, its parameters and their names.

    Raises:
        RunError: on leaving the block, where the UNet never added them.
    """
    if features is None:
        yield
        return
    calls = 0

    def add(_module: nn.Module, _inputs: tuple, output: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        extra = features.to(output.dtype)
        if output.shape[0] == 2 * extra.shape[0]:
            extra = torch.cat([torch.zeros_like(extra), extra])
        return output + extra

    conv_in = unet.conv_in
    assert isinstance(conv_in, nn.Module)
    handle = conv_in.register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()
    if not calls:
        # torch.compile keeps no watch over hooks: what it compiled before passes them by.
        raise RunError(
            "guidance",
            "the compiled UNet passed the maps by",
            "compile its blocks alone, with unet.compile_repeated_blocks()",
        )
