"""Recipes on tiny workspaces: built, one update of them, and whole runs, on the CPU."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from accelerate import Accelerator

from sfe_core.config.workspace import Workspace
from sfe_core.reporting import Reporter
from sfe_core.runs.start import train
from sfe_core.training.contract import RecipeSpec
from sfe_core.training.options import TrainOptions, TrainSummary

NOISE_ALONE = dict.fromkeys(("perceptual", "valence", "arousal", "expression", "features"), 0.0)
Kind = TypeVar("Kind")


def built(spec: RecipeSpec, workspace: Workspace, images: int, kind: type[Kind]) -> Kind:
    """What a recipe builds to learn from so many images."""
    recipe = spec.build(workspace, Accelerator(cpu=True), images, Reporter())
    assert isinstance(recipe, kind)
    return recipe


def step(recipe: Any, number: int = 0, count: int = 8) -> tuple[list[Any], torch.Tensor]:
    """The draws of an update and its loss, in one batch."""
    draws = recipe.draw(number, count * number, count)
    batch = next(iter(recipe.batches([draws]))).to(torch.device("cpu"))
    return draws, recipe.loss(recipe.model, batch, draws, draws).total


def run(workspace: Workspace, **options: Any) -> TrainSummary:
    """A run in one process."""
    return train(workspace, TrainOptions(cpu_processes=1, **options), Reporter())
