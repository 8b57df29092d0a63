"""What each part of the recipe is worth: the same run with one part off at a time, measured alike.

Every variant goes through train, package and evaluate as if it were typed, under names that begin
with `ablation-`; what is there already is gone on from, so an ablation can be stopped and called
again. With several training seeds every variant is trained with each, and held against the full
recipe of the same seed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sfe_core.config.model import Config
from sfe_core.config.workspace import Workspace
from sfe_core.errors import Interrupted, Stopped, UserError
from sfe_core.evaluation.ablation_table import FULL, NO_BALANCE, Ablation, collect, write_table
from sfe_core.evaluation.evaluate import evaluate
from sfe_core.evaluation.summary import EvaluationSummary
from sfe_core.files import sha256_json
from sfe_core.losses.composite import TERMS
from sfe_core.packaging.package import PackageExists, package_checkpoint
from sfe_core.reporting import Reporter
from sfe_core.runs.launch import launch, refuse_launcher
from sfe_core.training.options import TrainOptions

PREFIX = "ablation"


@dataclass(frozen=True)
class Variant:
    """A recipe to compare.

    Attributes:
        name: "full", or "no-" and the part that is off.
        changes: fields of sfe.yaml, by section.
    """

    name: str
    changes: dict[str, dict[str, Any]]

    def applied_to(self, workspace: Workspace) -> Workspace:
        """The workspace with this variant's settings."""
        values = workspace.config.model_dump()
        for section, fields in self.changes.items():
            values[section] |= fields
        return Workspace(workspace.root, Config.model_validate(values))


def variants_of(config: Config) -> list[Variant]:
    """The full recipe, then each active loss term, guidance and balance off, where they are on."""
    found = [Variant(FULL, {})]
    active = [name for name in TERMS if getattr(config.loss, name) > 0]
    if len(active) > 1:
        found += [Variant(f"no-{name}", {"loss": {name: 0.0}}) for name in active]
    if config.guidance.maps:
        found.append(Variant("no-guidance", {"guidance": {"maps": ()}}))
    kinds = ("balance", "balance_units", "balance_subjects")
    balanced = {kind: 0.0 for kind in kinds if getattr(config.train, kind) > 0}
    if balanced:
        found.append(Variant(NO_BALANCE, {"train": balanced}))
    return found


def chosen_variants(config: Config, names: Sequence[str]) -> list[Variant]:
    """The variants of these names, the full recipe always first; all, if there are no names.

    Raises:
        UserError: there is no such variant of this recipe.
    """
    every = {variant.name: variant for variant in variants_of(config)}
    unknown = [name for name in names if name not in every]
    if unknown:
        raise UserError(f"--only {unknown[0]}", "no such variant", f"allowed: {', '.join(every)}")
    wanted = {FULL, *names} if names else set(every)
    return [variant for name, variant in every.items() if name in wanted]


def ablate(
    workspace: Workspace,
    options: TrainOptions,
    split: str | None = None,
    only: Sequence[str] = (),
    reporter: Reporter | None = None,
    seeds: int = 1,
) -> Ablation:
    """Train, package and measure every variant; the table goes to evaluation/ablation-<split>/.

    Args:
        workspace: with a corpus.
        options: devices, batches and updates of every run; `run` and `resume` are set here.
        split: to measure on; None = the validation split.
        only: names of variants besides the full recipe; empty: all.
        reporter: told of progress.
        seeds: how many training seeds, from `train.seed` upwards. The table is written after each.

    Raises:
        UserError: an unknown variant, or see `launch` and `evaluate`.
    """
    refuse_launcher("sfe ablate", os.environ)
    reporter = reporter or Reporter()
    workspace = options.applied_to(workspace)
    split = split or workspace.config.split.validation_name
    chosen = chosen_variants(workspace.config, only)
    first = workspace.config.train.seed
    summaries: dict[str, list[EvaluationSummary]] = {variant.name: [] for variant in chosen}
    for seed in range(first, first + seeds):
        for number, variant in enumerate(chosen, 1):
            told = f", seed {seed}" if seeds > 1 else ""
            reporter.say(f"ablation {number}/{len(chosen)}: {variant.name}{told}")
            found = measure(workspace, variant, seed, options, split, reporter)
            summaries[variant.name].append(found)
        table = collect(summaries, workspace.evaluation / f"{PREFIX}-{split}")
        write_table(table)
    return table


def measure(
    workspace: Workspace,
    variant: Variant,
    seed: int,
    options: TrainOptions,
    split: str,
    reporter: Reporter,
) -> EvaluationSummary:
    """Train a variant with a training seed, package and measure it; what is there is gone on from.

    What is drawn afterwards keeps `sampling.seed`.

    Args: see `ablate`; the workspace has its own settings still.
    """
    changed = with_seed(variant.applied_to(workspace), seed)
    # Other settings are another run: never go on from one that was trained otherwise.
    told = "" if seed == workspace.config.train.seed else f"-seed{seed}"
    name = f"{PREFIX}-{variant.name}{told}-{trained_hash(changed.config)}"
    run = {**vars(options), "run": name, "resume": "auto"}
    try:
        summary = launch(changed, TrainOptions(**run), reporter)
    except (Stopped, Interrupted) as error:
        # Only this command knows the variant's settings.
        remedy = "the same `sfe ablate` goes on"
        raise type(error)(error.where, error.problem, remedy) from error
    package = _package(changed, name, summary.step, reporter)
    return evaluate(changed, split, package, reporter, name=f"{name}-{split}")


def with_seed(workspace: Workspace, seed: int) -> Workspace:
    """The workspace with this training seed."""
    values = workspace.config.model_dump()
    values["train"] |= {"seed": seed}
    return Workspace(workspace.root, Config.model_validate(values))


def trained_hash(config: Config) -> str:
    """Of all settings that a run is trained by."""
    sections = {"model", "guidance", "train", "loss", "data"}
    return sha256_json(config.model_dump(mode="json", include=sections))[:8]


def _package(workspace: Workspace, name: str, step: int, reporter: Reporter) -> Path:
    """The run's package; one of its name and other weights is the ablation's own, and stale."""
    make = partial(package_checkpoint, workspace, name, step, name, reporter=reporter)
    try:
        return make(reuse=True).folder
    except PackageExists:
        return make(force=True).folder
