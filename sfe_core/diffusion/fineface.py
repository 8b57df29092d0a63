"""FineFace's published action-unit adapter: one token for twelve units (tvaranka/fineface).

Two files: the token's encoder (`au_encoder.ckpt`) and every cross-attention's own projections
(`attn_processors.ckpt`); its LoRA is an ordinary one of diffusers. A softmax over a single token is
1 everywhere, so its keys do nothing and it shifts each layer as a whole; it is loaded as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from sfe_core.diffusion.unit_attention import (
    LayerProjections,
    UnitKeys,
    cross_attentions,
    module_name,
)
from sfe_core.diffusion.weight_files import WeightFiles
from sfe_core.errors import UserError
from sfe_core.strict_loading import load_strictly

UNITS = tuple(f"AU{number}" for number in (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26))
_MEND = "fetch attn_processors.ckpt and au_encoder.ckpt of the same base again"


class FineFaceAttention(nn.Module):
    """FineFace's token, and its keys and values for every cross-attention.

    Args:
        widths: name of a cross-attention to its width.
        token_width: of the text's tokens: 1024 of its SD 2.1, 768 of its SD 1.5.
        hidden: outputs of its linear layer: 64 and 756.
    """

    def __init__(self, widths: Mapping[str, int], token_width: int, hidden: int) -> None:
        super().__init__()
        self.au_encoder = nn.Linear(len(UNITS), hidden)
        self.projections = LayerProjections(widths, token_width)
        self._unused = token_width - len(UNITS) - hidden

    def forward(self, intensities: Tensor, scale: float = 1.0) -> UnitKeys:
        """What the layers find.

        Args:
            intensities: [B, 12] of `UNITS`, 0 to 5, 0 where not asked for. Zeros act too: its
                pipeline tells them to the unconditional half of classifier-free guidance, see
                `guidance_pair`.
            scale: as in `UnitKeys`.
        """
        token = torch.cat([intensities, self.au_encoder(intensities)], dim=1)
        token = nn.functional.pad(token, (0, self._unused))
        return UnitKeys(self.projections(token[:, None]), None, scale)


def intensities_of(asked: Sequence[Mapping[str, float]]) -> Tensor:
    """Intensities by FACS name of B pictures as [B, 12], 0 where not asked for.

    Raises:
        UserError: a unit is not one of the twelve.
    """
    for name in {name for wanted in asked for name in wanted} - set(UNITS):
        raise UserError("action units", f"{name!r} is not known", f"known: {', '.join(UNITS)}")
    return torch.tensor([[float(wanted.get(name, 0)) for name in UNITS] for wanted in asked])


def guidance_pair(intensities: Tensor) -> Tensor:
    """[B, 12] to [2 B, 12], as its pipeline has classifier-free guidance: zeros first."""
    return torch.cat([torch.zeros_like(intensities), intensities])


def load_fineface(processors: Path, encoder: Path, unet: nn.Module) -> FineFaceAttention:
    """Load the published files for a UNet, every tensor in its place.

    Args:
        processors: `attn_processors.ckpt` or `sd15_attn_processors.ckpt`.
        encoder: `au_encoder.ckpt` or `sd15_au_encoder.ckpt`.
        unet: of the base that they were trained on.

    Raises:
        UserError: a tensor is missing, unknown or of another shape.
        RunError: a file cannot be read.
    """
    layers = cross_attentions(unet)
    token = _tensors(encoder)
    text_width = next(iter(layers.values())).to_k.in_features
    weight = token.get("au_encoder.weight", torch.empty(1, len(UNITS)))
    if weight.dim() != 2 or weight.shape[0] + len(UNITS) > text_width:
        raise UserError(
            encoder, f"does not fit a text of width {text_width}", "give the files of this base"
        )
    widths = {name: layer.to_k.out_features for name, layer in layers.items()}
    made = FineFaceAttention(widths, text_width, weight.shape[0])
    holder = nn.ModuleDict({"au_encoder": made.au_encoder})
    load_strictly(holder, token, encoder, _MEND)
    load_strictly(made.projections, _renamed(_tensors(processors), widths), processors, _MEND)
    return made.eval()


def _tensors(path: Path) -> dict[str, Tensor]:
    return {name: tensor.float() for name, tensor in WeightFiles((path,)).tensors()}


def _renamed(state: Mapping[str, Tensor], layers: Mapping[str, int]) -> dict[str, Tensor]:
    """Published names to ours; one that is not of the UNet's layers keeps its own."""
    names = {
        f"{layer}.processor.au_{part}.weight": f"{part}.{module_name(layer)}.weight"
        for layer in layers
        for part in ("to_k", "to_v")
    }
    return {names.get(key, key): tensor for key, tensor in state.items()}
