"""Attention-focused fusion: how a person shows an expression, taken from how anyone shows it.

Two passes see the same noise. The whole pass reads the person's prompt with the expression; before
it, half a pass (down to the middle levels of the UNet's encoder) reads the expression alone: the
class prompt, "photo of a woman, happy". Attention between the features of both, token by token,
makes a third: the person's content where the expression has its features, and the expression's
content where the person has theirs. Near the landmarks that move, and in the middle third of the
steps, the decoder is given some of it in its skip connections.

The idea and the one known formula, softmax(f_e f_iᵀ/√d) f_i + softmax(f_i f_eᵀ/√d) f_e, are
FaceExpr's (Afgan et al. 2025, SSRN 5148247). What differs, and why:

- Features are normalised and projected before they are compared, and the temperature is learnt. Raw
  UNet features have norms of tens: their softmax is one-hot, and shuffles texture.
- The two terms are weighed, not summed: the decoder sees a skip of its usual size.
- Gates start at zero: an untrained fusion changes nothing, to the bit.
- The expression's pass has the *same weights*, adapters included, and only leaves the person's
  token out; prior preservation keeps that prompt honest. So a merged package needs no second UNet.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn import functional

from sfe_core.diffusion.guidance_files import FUSION_FOLDER
from sfe_core.errors import UserError

RANK = 64
WINDOW, EDGE = (0.3, 0.7), 0.05
# The middle two of four down blocks. A UNet of three has its tokens at the same two.
_BLOCKS = (1, 2)
# Random features of 256 to 1,024 tokens then have half the entropy that rows can have.
_TEMPERATURE = 24.0
_TEMPERATURES = (0.1, 1000.0)  # that `calibrate` looks between

# ---- Where ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """A skip connection: the down block it leaves, its place among that block's, its channels."""

    block: int
    index: int
    width: int


def middle_skips(unet: nn.Module) -> dict[int, Place]:
    """The skips to fuse, by their number among all: those of the middle down blocks' ResNets.

    In Stable Diffusion 1.5 as in XL these are 4, 5, 7 and 8, of 640, 640, 1,280, 1,280 channels;
    in a UNet with two levels, those of the second.

    Raises:
        UserError: the UNet has no second level.
    """
    found, number = {}, 1  # 0 is the first convolution's
    blocks = getattr(unet, "down_blocks", ())
    for block, module in enumerate(blocks):
        for index, resnet in enumerate(module.resnets):
            if block in _BLOCKS:
                found[number + index] = Place(block, index, resnet.out_channels)
        number += len(module.resnets) + len(module.downsamplers or ())
    if not found:
        raise UserError(
            "model.base", "its UNet has no second level", "choose a Stable Diffusion 1.5 or XL"
        )
    return found


# ---- The networks --------------------------------------------------------------------------------


class SkipFusion(nn.Module):
    """Attention between the two passes' features at one skip, in float32 whatever they are in.

    With tokens f [B, N, C] of the person (`full`) and e of the expression, n(·) a layer norm
    without weights, q and k the unit vectors of n(·) W_q and n(·) W_k:

        g = λ softmax(τ q(e) k(f)ᵀ) f + (1 - λ) softmax(τ q(f) k(e)ᵀ) e
        f' = f + γ w M (g - f)

    W_q and W_k start as one matrix with orthonormal columns: a token's match with itself is 1, and
    no match is better.

    Args:
        width: C.
        rank: columns of W_q and W_k, at most C.
        gate: γ to begin with. From 0 only γ itself learns at the first update.
    """

    def __init__(self, width: int, rank: int = RANK, gate: float = 0.0) -> None:
        super().__init__()
        rank = min(rank, width)
        self.to_q, self.to_k = (nn.Linear(width, rank, bias=False) for _ in range(2))
        nn.init.orthogonal_(self.to_q.weight)
        with torch.no_grad():
            self.to_k.weight.copy_(self.to_q.weight)
        self.gate = nn.Parameter(torch.full((), gate))
        self.log_temperature = nn.Parameter(torch.full((), math.log(_TEMPERATURE)))
        self.balance = nn.Parameter(torch.zeros(()))  # λ is its sigmoid

    def forward(self, full: Tensor, expression: Tensor, weight: Tensor) -> Tensor:
        """The skip f'.

        Args:
            full, expression: [B, C, H, W].
            weight: w M, [B, 1, H, W] or what broadcasts to it.

        Returns:
            [B, C, H, W], of the type of `full`; where γ or `weight` is 0, `full` to the bit.
        """
        with torch.autocast(full.device.type, enabled=False):
            content = self.mixed(full, expression)
            change = (self.gate * weight).float() * (content - full.float())
            return (full.float() + change).to(full.dtype)

    def mixed(self, full: Tensor, expression: Tensor) -> Tensor:
        """g, [B, C, H, W] float32."""
        share = self.balance.float().sigmoid()
        (query_full, key_full), (query_own, key_own) = (
            self._matched(_normalised(features)) for features in (full, expression)
        )
        # Values of the person's are found by the expression's queries, and the other way about.
        person = _attended(query_own, key_full, _tokens(full))
        anyone = _attended(query_full, key_own, _tokens(expression))
        mixed = share * person + (1 - share) * anyone
        return mixed.mT.unflatten(2, full.shape[2:])

    def entropies(self, full: Tensor, expression: Tensor) -> Tensor:
        """Mean entropy of the rows of both attentions as a share of log N, [2].

        Near 0 a row copies one token, near 1 it averages all: between 0.2 and 0.9 it does either
        to some extent.
        """
        with torch.autocast(full.device.type, enabled=False):
            return torch.stack([_entropy(row) for row in self._scores(full, expression)])

    def rows(self, full: Tensor, expression: Tensor) -> tuple[Tensor, Tensor]:
        """Both attentions, [B, N, N] float32: of the expression's tokens to the person's, and back.

        `forward` never holds them; they are for looking at.
        """
        with torch.autocast(full.device.type, enabled=False):
            to_person, to_expression = self._scores(full, expression)
            return to_person.softmax(dim=2), to_expression.softmax(dim=2)

    def _scores(self, full: Tensor, expression: Tensor) -> tuple[Tensor, Tensor]:
        (query_full, key_full), (query_own, key_own) = (
            self._matched(_normalised(features)) for features in (full, expression)
        )
        return query_own @ key_full.mT, query_full @ key_own.mT

    def _matched(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Queries, τ long, and keys of unit length, each [B, N, rank], of normalised tokens."""
        temperature = self.log_temperature.float().exp()
        query, key = (
            functional.normalize(functional.linear(tokens, layer.weight.float()), dim=2)
            for layer in (self.to_q, self.to_k)
        )
        return temperature * query, key


def _tokens(features: Tensor) -> Tensor:
    """[B, C, H, W] to [B, H W, C] float32."""
    return features.float().flatten(2).mT


def _normalised(features: Tensor) -> Tensor:
    tokens = _tokens(features)
    return functional.layer_norm(tokens, tokens.shape[2:])


def _attended(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(query keyᵀ) value, of [B, N, ·]."""
    # The kernels know heads: of one.
    query, key, value = query[:, None], key[:, None], value[:, None]
    return functional.scaled_dot_product_attention(query, key, value, scale=1.0)[:, 0]


def _entropy(scores: Tensor) -> Tensor:
    """Mean over the rows of scores [B, N, N], as a share of log N."""
    logs = scores.log_softmax(dim=2)
    return -(logs.exp() * logs).sum(dim=2).mean() / math.log(scores.shape[2])


@dataclass(frozen=True)
class FusedSkip:
    """What fusion made of one skip of B pictures, for the losses; all [B, C, H, W].

    Attributes:
        number: of the skip.
        full: features of the pass under the person's prompt, f.
        expression: of the pass with the expression alone, without gradient.
        fused: f', what the decoder got.
        mask: [B, 1, H, W] in [0, 1].
        window: w(t), [B].
    """

    number: int
    full: Tensor
    expression: Tensor
    fused: Tensor
    mask: Tensor
    window: Tensor


class ExpressionFusion(ModelMixin, ConfigMixin):
    """What fuses the skips of one UNet, and when.

    Args:
        skips: numbers of the skip connections, see `middle_skips`.
        widths: their channels.
        rank: see `SkipFusion`.
        gate: the same.
        window: between which shares of the noise's steps it acts, first and last; empty where the
            first is not below the last.
        edge: share of the steps over which it rises within the window, as a raised cosine.
        timesteps: of the noise schedule, T.
    """

    @register_to_config
    def __init__(
        self,
        skips: Sequence[int] = (4, 5, 7, 8),
        widths: Sequence[int] = (640, 640, 1280, 1280),
        rank: int = RANK,
        gate: float = 0.0,
        window: Sequence[float] = WINDOW,
        edge: float = EDGE,
        timesteps: int = 1000,
    ) -> None:
        super().__init__()
        self.fusions = nn.ModuleDict(
            {
                str(number): SkipFusion(width, rank, gate)
                for number, width in zip(skips, widths, strict=True)
            }
        )

    @classmethod
    def beside(cls, unet: nn.Module, **options: Any) -> ExpressionFusion:
        """A fresh one for a UNet; `options` are the constructor's.

        Raises:
            UserError: the UNet has no second level.
        """
        found = middle_skips(unet)
        return cls(list(found), [place.width for place in found.values()], **options)

    @classmethod
    def from_pretrained(cls, folder: str | Path, **options: Any) -> Any:
        """Load one from a folder; every tensor must have its place, and every place its own.

        `options` are those of diffusers' `from_pretrained`.

        Raises:
            UserError: naming the first tensor that has not.
        """
        remedy = "fetch or package it again"
        wants_report = options.pop("output_loading_info", False)
        try:
            made, report = super().from_pretrained(folder, output_loading_info=True, **options)
        except ValueError as error:  # a shape
            raise UserError(
                folder, f"does not fit ({error})", "fetch or package it again"
            ) from error
        for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
            if odd := sorted(map(str, report[kind])):
                raise UserError(folder, f"{kind.replace('_', ' ')}: {odd[0]} first", remedy)
        return (made, report) if wants_report else made

    def check_fits(self, unet: nn.Module) -> None:
        """See that a UNet has the skips that this one was built for.

        Raises:
            UserError: it has others.
        """
        own = dict(zip(self.config["skips"], self.config["widths"], strict=True))
        here = {number: place.width for number, place in middle_skips(unet).items()}
        if own != here:
            raise UserError(
                FUSION_FOLDER,
                f"is of a UNet with other skips ({_told(own)}; here {_told(here)})",
                "take the folder that was trained on this base",
            )

    def window(self, timesteps: Tensor) -> Tensor:
        """w(t) in [0, 1], of timesteps of any shape: 0 outside the window and at its borders."""
        start, end = self.config["window"]
        share = timesteps.float() / self.config["timesteps"]
        inside = torch.minimum(share - start, end - share)
        edge = min(self.config["edge"], (end - start) / 2)
        if edge <= 0:
            return (inside > 0).float()
        return 0.5 - 0.5 * (math.pi * (inside / edge).clamp(0, 1)).cos()

    @property
    def open_skips(self) -> frozenset[int]:
        """Those whose gate is not 0."""
        return frozenset(number for number in self.config["skips"] if self.at(number).gate.item())

    def at(self, number: int) -> SkipFusion:
        """The fusion of a skip by its number."""
        skip = self.fusions[str(number)]
        assert isinstance(skip, SkipFusion)
        return skip

    @torch.no_grad()
    def calibrate(self, seen: Sequence[FusedSkip], entropy: float = 0.5) -> None:
        """Set each skip's temperature so that its rows have this share of the entropy they can.

        Real features are smoother than random ones, so it takes the base's own: of one batch of
        photos noised into the window, before training.

        Args:
            seen: of each skip at least once, see `expression_fused`; of several the first counts.
        """
        for one in reversed(seen):
            skip = self.at(one.number)
            low, high = map(math.log, _TEMPERATURES)
            for _ in range(20):
                middle = (low + high) / 2
                skip.log_temperature.fill_(middle)
                flat = skip.entropies(one.full, one.expression).mean() > entropy
                low, high = (middle, high) if flat else (low, middle)


def _told(skips: Mapping[int, int]) -> str:
    return ", ".join(f"{number}: {width} channels" for number, width in skips.items())
