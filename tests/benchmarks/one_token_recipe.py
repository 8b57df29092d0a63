"""The action-unit recipe with one token for all units, as FineFace has it; all else is the same.

Not a recipe to use: `action_units_tiny` trains it beside `action-units`. Its token holds the
intensities as they are and a linear layer of them (tvaranka/fineface), here of each side; alone
among the keys it has weight 1 everywhere, so that its keys never learn and it shifts each layer as
a whole. What is not told counts as 0; where nothing is told, nothing is added.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from accelerate import Accelerator
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from sfe_core.config.workspace import Workspace
from sfe_core.diffusion.guided_unet import GuidedUNet
from sfe_core.diffusion.unit_attention import PRESENT, UnitAttention, UnitKeys
from sfe_core.recipes import action_units
from sfe_core.reporting import Reporter
from sfe_core.training.contract import Checked, RecipeSpec


class OneToken(UnitAttention):
    """One token of all units, attended alone; see `UnitAttention` for the arguments."""

    @register_to_config
    def __init__(
        self,
        units: Sequence[str],
        layers: Sequence[str],
        widths: Sequence[int],
        token_width: int = 768,
        hidden: int = 256,
    ) -> None:
        super().__init__(units, layers, widths, token_width, hidden)
        told = PRESENT * len(units)
        self.encoder = nn.Linear(told, token_width - told)

    def forward(self, conditions: Tensor, scale: float = 1.0) -> UnitKeys:
        """As `UnitAttention.forward`; presence is not looked at."""
        weight = self.encoder.weight
        intensities = conditions[..., :PRESENT].nan_to_num().flatten(1).to(weight.dtype)
        token = torch.cat([intensities, self.encoder(intensities)], dim=1)
        said = (~conditions.isnan()).flatten(1).any(1)[:, None, None]
        found = self.projections(token[:, None])
        return UnitKeys(
            {name: (key, value * said) for name, (key, value) in found.items()}, None, scale
        )


def check(workspace: Workspace) -> Checked:
    """See `action_units.check`."""
    checked = action_units.check(workspace)
    model = checked.model
    assert isinstance(model, GuidedUNet) and model.units is not None
    with torch.device("meta"):
        model.units = OneToken.beside(model.unet, model.units.units)
    return replace(checked, model=model)


def build(
    workspace: Workspace, accelerator: Accelerator, images: int, reporter: Reporter
) -> action_units.ActionUnits:
    """See `action_units.build`; the same seed draws the same faces, noise and dropout."""
    recipe = action_units.build(workspace, accelerator, images, reporter)
    model = recipe.model
    assert model.units is not None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(workspace.config.train.seed)
        model.units = OneToken.beside(model.unet, model.units.units).to(accelerator.device)
    return recipe


SPEC = RecipeSpec(
    name="one-token",
    check=check,
    build=build,
    options=action_units.Options,
    best=action_units.SPEC.best,
)
