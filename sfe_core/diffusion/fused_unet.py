"""A UNet that trains with attention-focused fusion: both passes as one module for one wrapper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel

from sfe_core.diffusion.expression_embeddings import ExpressionEmbeddings, ExpressiveUNet
from sfe_core.diffusion.expression_fusion import ExpressionFusion, FusedSkip
from sfe_core.diffusion.fused_passes import ExpressionPrompt, expression_fused
from sfe_core.diffusion.guidance import GuidanceBank


@dataclass(frozen=True)
class FusionConditions:
    """What a `FusedUNet` is told of B images beside their texts.

    Attributes:
        text: [B, L, D], the class prompts' states, or token ids [B, L] for a text encoder that
            trains.
        pooled: [B, P] of the same; None in a family without.
        mask: [B, 1, H, W] in [0, 1], where each shows its expression; 0: its features stay.
        expressions: [B, E], that stand behind both texts, see `ExpressiveUNet`; None: none does.
    """

    text: Tensor
    pooled: Tensor | None
    mask: Tensor
    expressions: Tensor | None = None


class FusedUNet(ExpressiveUNet):
    """An `ExpressiveUNet` whose `conditions` may be `FusionConditions`.

    Attributes:
        seen: the skips that the last such call fused, for the loss; whoever takes them empties it,
            as they hold on to the call's graph.
    """

    def __init__(
        self,
        unet: UNet2DConditionModel,
        bank: GuidanceBank,
        text_encoder: CLIPTextModel | None = None,
        expressions: ExpressionEmbeddings | None = None,
        fusion: ExpressionFusion | None = None,
    ) -> None:
        super().__init__(unet, bank, text_encoder, expressions)
        self.fusion = fusion
        self.seen: list[FusedSkip] = []

    def forward(self, *inputs: Any, **named: Any) -> Tensor:
        """See `GuidedUNet`; with a Tensor or None for `conditions` it is an `ExpressiveUNet`."""
        conditions = named.get("conditions")
        if not isinstance(conditions, FusionConditions):
            return super().forward(*inputs, **named)
        assert self.fusion is not None
        asked = self.class_prompt(conditions)
        with expression_fused(self.unet, self.fusion, asked) as made:
            predicted = super().forward(*inputs, **named | {"conditions": conditions.expressions})
        self.seen = made
        return predicted

    @torch.no_grad()
    def class_prompt(self, conditions: FusionConditions) -> ExpressionPrompt:
        """What the pass with the expression alone reads."""
        device = conditions.text.device.type
        # Autocast would keep weights cast without gradient for the pass that needs one.
        with torch.autocast(
            device,
            torch.get_autocast_dtype(device),
            enabled=torch.is_autocast_enabled(device),
            cache_enabled=False,
        ):
            states, pooled = self.text_states(conditions.text), conditions.pooled
            if conditions.expressions is not None:
                assert self.expressions is not None
                states, pooled = self.expressions.appended(states, conditions.expressions, pooled)
        return ExpressionPrompt(states, pooled, conditions.mask)
