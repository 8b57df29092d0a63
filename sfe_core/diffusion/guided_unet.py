"""All networks that train as one module, so that one wrapper (DDP, FSDP) trains them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel

from sfe_core.diffusion.guidance import GuidanceBank, added_to_conv_in
from sfe_core.diffusion.unit_attention import KEYWORD, UnitAttention, attend_to_units

Added = Mapping[str, torch.Tensor] | None
Told = tuple[torch.Tensor, Added, dict[str, Any] | None]


class GuidedUNet(nn.Module):
    """A plain UNet2DConditionModel beside a GuidanceBank; each is saved on its own.

    Where the text encoder trains too, it is the third, and texts come as token ids. Where action
    units are told as intensities, their attention is the fourth.
    """

    def __init__(
        self,
        unet: UNet2DConditionModel,
        bank: GuidanceBank,
        text_encoder: CLIPTextModel | None = None,
        units: UnitAttention | None = None,
    ) -> None:
        super().__init__()
        self.unet = unet
        self.bank = bank
        self.text_encoder = text_encoder
        self.units = units
        if units is not None:
            attend_to_units(unet)

    def forward(
        self,
        noisy: torch.Tensor,
        timesteps: torch.Tensor,
        text: torch.Tensor,
        maps: Mapping[str, torch.Tensor] | None = None,
        keep: Sequence[bool] | None = None,
        strengths: Mapping[str, float] | None = None,
        added: Added = None,
        conditions: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Predict the noise (or v) in `noisy`.

        Args:
            noisy: latents [B, C, h, w].
            timesteps: [B] integers.
            text: text-encoder states [B, L, D], or token ids [B, L] for the text encoder here.
            maps: name to [B, 3, H, W] in [0, 1]; None or empty: text alone.
            keep: B flags, False where an image goes without guidance; None keeps all.
            strengths: name to factor, 1 where not named.
            added: what the UNet is told beside text and timestep, diffusers' `added_cond_kwargs`:
                for SDXL `text_embeds` [B, P] and `time_ids` [B, 6]; None: nothing.
            conditions: what is told of the action units, [B, U, 3], see `unit_conditions`; None:
                nothing of any.

        Returns:
            [B, C, h, w].
        """
        states, added, attended = self.told(text, added, conditions)
        features = self.bank(maps, strengths, keep) if maps else None
        with added_to_conv_in(self.unet, features):
            return self.unet(
                noisy,
                timesteps,
                encoder_hidden_states=states,
                cross_attention_kwargs=attended,
                added_cond_kwargs=None if added is None else dict(added),
                return_dict=False,
            )[0]

    def told(self, text: torch.Tensor, added: Added, conditions: torch.Tensor | None) -> Told:
        """What `forward` makes of what it is told: states, `added`, and what is attended to."""
        attended = None
        if conditions is not None:
            assert self.units is not None
            attended = {KEYWORD: self.units(conditions)}
        return self.text_states(text), added, attended

    def text_states(self, text: torch.Tensor) -> torch.Tensor:
        """States [B, L, D] of what `forward` takes for texts."""
        return text if self.text_encoder is None else self.text_encoder(text)[0]
