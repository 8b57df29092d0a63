"""What each part of the recipe is worth: the same run with one part off at a time, measured alike.

Every variant goes through train, package and evaluate as if it were typed, under names that begin
with `ablation-`; what is there already is gone on from, so an ablation can be stopped and called
again.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sfe_core.config.model import Config
from sfe_core.config.workspace import Workspace
from sfe_core.errors import Interrupted, Stopped, UserError
from sfe_core.evaluation.evaluate import evaluate
from sfe_core.evaluation.metrics import in_ablation
from sfe_core.evaluation.summary import EvaluationSummary, Metric, Score
from sfe_core.files import sha256_json, write_text
from sfe_core.losses.composite import TERMS
from sfe_core.packaging.package import PackageExists, package_checkpoint
from sfe_core.reporting import Reporter
from sfe_core.runs.launch import launch, refuse_launcher
from sfe_core.training.options import TrainOptions
from sfe_core.wording import markdown_table

FULL = "full"
NO_BALANCE = "no-balance"
PREFIX = "ablation"
SETS = ("guided", "text")


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


@dataclass(frozen=True)
class AblationRow:
    """A variant's numbers of one set of pictures: "guided" by maps, or from "text" alone."""

    variant: str
    pictures: str
    scores: dict[str, Score]


@dataclass(frozen=True)
class Ablation:
    """The whole table.

    Attributes:
        rows: in the order of the variants, guided pictures first.
        metrics: the columns.
        folder: holds ablation.json, .csv and .md.
        notes: what to know when reading the table.
    """

    rows: list[AblationRow]
    metrics: dict[str, Metric]
    folder: Path
    notes: tuple[str, ...] = ()

    def table(self) -> list[dict[str, str]]:
        """As display strings, with intervals."""
        return [
            {"variant": row.variant, "pictures": row.pictures}
            | {m.heading: m.show(row.scores.get(name)) for name, m in self.metrics.items()}
            for row in self.rows
        ]


def variants_of(config: Config) -> list[Variant]:
    """The full recipe, then each active loss term, guidance and balance off, where they are on."""
    found = [Variant(FULL, {})]
    active = [name for name in TERMS if getattr(config.loss, name) > 0]
    if len(active) > 1:
        found += [Variant(f"no-{name}", {"loss": {name: 0.0}}) for name in active]
    if config.guidance.maps:
        found.append(Variant("no-guidance", {"guidance": {"maps": ()}}))
    if config.train.balance > 0:
        found.append(Variant(NO_BALANCE, {"train": {"balance": 0.0}}))
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
) -> Ablation:
    """Train, package and measure every variant; the table goes to evaluation/ablation-<split>/.

    Args:
        workspace: with a corpus.
        options: devices, batches and updates of every run; `run` and `resume` are set here.
        split: to measure on; None = the validation split.
        only: names of variants besides the full recipe; empty: all.
        reporter: told of progress.

    Raises:
        UserError: an unknown variant, or see `launch` and `evaluate`.
    """
    refuse_launcher("sfe ablate", os.environ)
    reporter = reporter or Reporter()
    workspace = options.applied_to(workspace)
    split = split or workspace.config.split.validation_name
    chosen = chosen_variants(workspace.config, only)
    summaries = {}
    for number, variant in enumerate(chosen, 1):
        reporter.say(f"ablation {number}/{len(chosen)}: {variant.name}")
        summaries[variant.name] = _measure(variant, workspace, options, split, reporter)
    found = collect(summaries, workspace.evaluation / f"{PREFIX}-{split}")
    write_table(found)
    return found


def _measure(
    variant: Variant, workspace: Workspace, options: TrainOptions, split: str, reporter: Reporter
) -> EvaluationSummary:
    changed = variant.applied_to(workspace)
    # Other settings are another run: never go on from one that was trained otherwise.
    trained = changed.config.model_dump(
        mode="json", include={"model", "guidance", "train", "loss", "data"}
    )
    name = f"{PREFIX}-{variant.name}-{sha256_json(trained)[:8]}"
    run = {**vars(options), "run": name, "resume": "auto"}
    try:
        summary = launch(changed, TrainOptions(**run), reporter)
    except (Stopped, Interrupted) as error:
        # Only this command knows the variant's settings.
        remedy = "the same `sfe ablate` goes on"
        raise type(error)(error.where, error.problem, remedy) from error
    package = _package(changed, name, summary.step, reporter)
    return evaluate(changed, split, package, reporter, name=f"{name}-{split}")


def _package(workspace: Workspace, name: str, step: int, reporter: Reporter) -> Path:
    """The run's package; one of its name and other weights is the ablation's own, and stale."""
    make = partial(package_checkpoint, workspace, name, step, name, reporter=reporter)
    try:
        return make(reuse=True).folder
    except PackageExists:
        return make(force=True).folder


def collect(summaries: Mapping[str, EvaluationSummary], folder: Path) -> Ablation:
    """The rows of variants that were measured alike.

    Raises:
        UserError: they were not measured on the same pictures of the same split.
    """
    full = summaries[FULL]
    for name, summary in summaries.items():
        if (summary.split, summary.keys_sha256) != (full.split, full.keys_sha256):
            raise UserError(
                f"ablation {name}", "measured on other photos than full", "measure both again"
            )
    metrics = {name: metric for name, metric in full.metrics.items() if in_ablation(name)}
    rows = [
        AblationRow(
            variant,
            pictures,
            {name: score for name, score in summary.scores[pictures].items() if name in metrics},
        )
        for variant, summary in summaries.items()
        for pictures in SETS
        if pictures in summary.scores
    ]
    return Ablation(rows, metrics, folder, tuple(_notes(rows)))


def _notes(rows: Sequence[AblationRow]) -> Iterator[str]:
    """Variants that came out as the full recipe did to the last digit, and why that may be."""
    scores: dict[str, dict[str, dict[str, Score]]] = {}
    for row in rows:
        scores.setdefault(row.variant, {})[row.pictures] = row.scores
    for name, found in scores.items():
        if name == FULL or found != scores[FULL]:
            continue
        note = f"{name} is {FULL} to the last digit: what it leaves out changes nothing here"
        if name == NO_BALANCE:
            note += ", where the training photos show every emotion equally often"
        yield note


def write_table(found: Ablation) -> None:
    """Write the table as numbers (JSON), CSV and Markdown, each whole or not at all."""
    table = found.table()
    headers = list(table[0])
    plain = {
        "metrics": {name: metric.model_dump(mode="json") for name, metric in found.metrics.items()},
        "rows": [
            {
                "variant": row.variant,
                "pictures": row.pictures,
                "scores": {n: s.model_dump(mode="json") for n, s in row.scores.items()},
            }
            for row in found.rows
        ],
        "notes": found.notes,
    }
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    parts = {"": "value", "_low": "low", "_high": "high", "_n": "n"}
    writer.writerow(["variant", "pictures", *(f"{m}{end}" for m in found.metrics for end in parts)])
    for row in found.rows:
        scores = [row.scores.get(name) for name in found.metrics]
        numbers = (getattr(score, part, None) for score in scores for part in parts.values())
        writer.writerow([row.variant, row.pictures, *numbers])
    write_text(found.folder / "ablation.json", json.dumps(plain, indent=2) + "\n")
    write_text(found.folder / "ablation.csv", stream.getvalue())
    text = markdown_table(headers, [list(row.values()) for row in table])
    text += "".join(f"\n{note}\n" for note in found.notes)
    write_text(found.folder / "ablation.md", text)
