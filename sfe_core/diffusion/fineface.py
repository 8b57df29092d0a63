"""FineFace's published action-unit adapter: one token for twelve units (tvaranka/fineface).

Two files: the token's encoder (`au_encoder.ckpt`) and every cross-attention's own projections
(`attn_processors.ckpt`), those for Stable Diffusion 1.5 with `sd15_` in front. A softmax over a
single token is 1 everywhere, so its keys do nothing and it shifts each layer as a whole; it is
loaded as it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from sfe_core.diffusion.guidance_files import BANK_CONFIG, ONE_TOKEN
from sfe_core.diffusion.unit_attention import (
    LEFT,
    PRESENT,
    RIGHT,
    UnitAttention,
    UnitKeys,
    cross_attentions,
    module_name,
)
from sfe_core.diffusion.weight_files import WeightFiles, empty_network
from sfe_core.errors import UserError
from sfe_core.strict_loading import load_strictly

UNITS = tuple(f"AU{number}" for number in (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26))
PROCESSORS, ENCODER = "attn_processors.ckpt", "au_encoder.ckpt"
_PREFIXES = ("sd15_", "")  # without one: of SD 2.1, which sfe does not train
_MEND = "fetch attn_processors.ckpt and au_encoder.ckpt of the same base again"


class FineFaceAttention(UnitAttention):
    """FineFace's token, and its keys and values for every cross-attention.

    Zeros act too: its pipeline tells them to the unconditional half of classifier-free guidance.
    With the units' guidance scale that of the text, `units_told` is that pipeline.

    Args:
        units: `UNITS`.
        layers: names of the UNet's cross-attentions.
        widths: of these.
        token_width: of the text's tokens: 1024 of its SD 2.1, 768 of its SD 1.5.
        hidden: outputs of its linear layer: 64 and 756.
    """

    @register_to_config
    def __init__(
        self,
        units: Sequence[str],
        layers: Sequence[str],
        widths: Sequence[int],
        token_width: int = 768,
        hidden: int = 756,
    ) -> None:
        super().__init__(units, layers, widths, token_width, hidden)
        self.encoder = nn.Linear(len(units), hidden)
        self._unused = token_width - len(units) - hidden

    def forward(self, conditions: Tensor, scale: float = 1.0) -> UnitKeys:
        """What the layers find.

        Args:
            conditions: [B, 12, 3], see `unit_conditions`; what is not asked for counts as 0.
            scale: as in `UnitKeys`.

        Raises:
            UserError: left and right differ, or presence without an intensity is asked for.
        """
        asked = one_intensity(self.units, conditions).to(self.dtype)
        without = UnitKeys(self._found(torch.zeros_like(asked)), None, scale)
        return UnitKeys(self._found(asked), None, scale, without)

    def _found(self, intensities: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """Of intensities [B, 12]."""
        token = torch.cat([intensities, self.encoder(intensities)], dim=1)
        return self.projections(nn.functional.pad(token, (0, self._unused))[:, None])


def one_intensity(units: Sequence[str], conditions: Tensor) -> Tensor:
    """Conditions [B, U, 3] (see `unit_conditions`) as one intensity a unit [B, U], 0 unasked.

    Raises:
        UserError: left and right differ, or presence without an intensity is asked for.
    """
    known = ~conditions.isnan()
    told = conditions.nan_to_num()
    uneven = (told[..., LEFT] != told[..., RIGHT]) | (known[..., LEFT] != known[..., RIGHT])
    for odd, problem in (
        (uneven, "left and right differ, but FineFace's token has no sides"),
        (known[..., PRESENT] & ~known[..., LEFT], "FineFace's token knows no bare presence"),
    ):
        if odd.any():
            unit = units[int(odd.any(0).int().argmax())]
            raise UserError(f"action units: {unit}", problem, f"ask for one intensity, {unit}=3")
    return told[..., LEFT]


def units_kind(folder: Path) -> type[UnitAttention]:
    """The class of the units' network in a pipeline's `action_units/`."""
    try:
        config = json.loads((folder / BANK_CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return UnitAttention  # whose loading says what is wrong
    is_one = isinstance(config, dict) and config.get("_class_name") == ONE_TOKEN
    return FineFaceAttention if is_one else UnitAttention


def find_fineface(folder: Path) -> tuple[Path, Path]:
    """The files of projections and encoder in a folder, those of Stable Diffusion 1.5 first.

    Raises:
        UserError: they are not there.
    """
    for prefix in _PREFIXES:
        found = folder / f"{prefix}{PROCESSORS}", folder / f"{prefix}{ENCODER}"
        if all(path.is_file() for path in found):
            return found
    raise UserError(
        f"--fineface {folder}",
        f"holds no {PROCESSORS} and {ENCODER} (nor with sd15_ in front)",
        "give the folder of FineFace's published files",
    )


def load_fineface_beside(folder: Path, unet: Path) -> FineFaceAttention:
    """The published files in a folder, for a UNet of which only the configuration is read.

    Args:
        folder: with FineFace's files.
        unet: `unet/` of a pipeline.

    Raises:
        UserError: they are not there, or a tensor is missing, unknown or of another shape.
        RunError: a file cannot be read.
    """
    config = UNet2DConditionModel.load_config(unet)
    return load_fineface(*find_fineface(folder), empty_network(UNet2DConditionModel, config))


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
    made = FineFaceAttention(
        UNITS, list(widths), list(widths.values()), text_width, weight.shape[0]
    )
    load_strictly(nn.ModuleDict({"au_encoder": made.encoder}), token, encoder, _MEND)
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
