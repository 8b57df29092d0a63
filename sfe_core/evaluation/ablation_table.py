"""The ablation's tables: every variant's numbers, and what each changes in the full recipe's."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfe_core.errors import UserError
from sfe_core.evaluation.definitions import in_ablation
from sfe_core.evaluation.pool import Pool
from sfe_core.evaluation.summary import Delta, EvaluationSummary, Metric, Score
from sfe_core.files import write_text
from sfe_core.wording import markdown_table

FULL = "full"
NO_BALANCE = "no-balance"
SETS = ("guided", "text")
_PARTS = {"": "value", "_low": "low", "_high": "high", "_n": "n"}


@dataclass(frozen=True)
class AblationRow:
    """A variant's numbers of one set of pictures: "guided" by maps, or from "text" alone.

    Attributes:
        variant, pictures: which.
        scores: pooled over seeds.
        by_seed: each seed's own values.
        changes: minus the full recipe of the same seed, pooled; empty for the full recipe itself.
    """

    variant: str
    pictures: str
    scores: dict[str, Score]
    by_seed: dict[str, list[float]]
    changes: dict[str, Delta]


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
        """As display strings, with intervals, and from which to which seed the values go."""
        return [
            {"variant": row.variant, "pictures": row.pictures}
            | {
                m.heading: m.show(row.scores.get(name)) + _spread(m, row.by_seed.get(name, []))
                for name, m in self.metrics.items()
            }
            for row in self.rows
        ]

    def changes(self) -> list[dict[str, str]]:
        """What leaving a part out changes, as display strings; empty where that is not known."""
        return [
            {"variant": row.variant, "pictures": row.pictures}
            | {m.heading: m.show(row.changes.get(n), signed=True) for n, m in self.metrics.items()}
            for row in self.rows
            if row.changes
        ]


def collect(summaries: Mapping[str, Sequence[EvaluationSummary]], folder: Path) -> Ablation:
    """The rows of variants that were measured alike, each with the same seeds in the same order.

    Raises:
        UserError: they were not measured on the same pictures of the same split.
    """
    full = summaries[FULL][0]
    for name, of_seeds in summaries.items():
        for summary in of_seeds:
            if (summary.split, summary.keys_sha256) != (full.split, full.keys_sha256):
                raise UserError(
                    f"ablation {name}", "measured on other photos than full", "measure both again"
                )
    metrics = {name: metric for name, metric in full.metrics.items() if in_ablation(name)}
    pools = {name: Pool(of_seeds) for name, of_seeds in summaries.items()}
    rows = [
        _row(variant, pictures, pools, metrics)
        for variant in pools
        for pictures in SETS
        if pools[variant].has(pictures)
    ]
    notes = [*_of_intervals(summaries[FULL]), *_without_effect(rows)]
    return Ablation(rows, metrics, folder, tuple(notes))


def _row(
    variant: str, pictures: str, pools: Mapping[str, Pool], metrics: Mapping[str, Metric]
) -> AblationRow:
    own, full = pools[variant], pools[FULL]
    scores, by_seed, changes = {}, {}, {}
    for name in metrics:
        score = own.score(pictures, name)
        if score is None:
            continue
        scores[name], by_seed[name] = score, own.values(pictures, name)
        after, before = own.measured(pictures, name), full.measured(pictures, name)
        if variant != FULL and after is not None and before is not None:
            changes[name] = Delta(**vars(after.minus(before).pooled()))
    return AblationRow(variant, pictures, scores, by_seed, changes)


def _spread(metric: Metric, values: Sequence[float]) -> str:
    if len(values) < 2:
        return ""
    return f"; seeds {metric.number(min(values))} to {metric.number(max(values))}"


def _of_intervals(full: Sequence[EvaluationSummary]) -> Iterator[str]:
    """What the intervals are over, and what they leave out."""
    resampling = full[0].resampling
    over = "" if resampling is None else f" {resampling.told}"
    if len(full) > 1:
        yield f"intervals are{over or ' over pictures'} and over {len(full)} training seeds"
    else:
        yield (
            f"intervals are{over or ' over pictures'} and of one training seed: how much another "
            "would change is in none of them, `--seeds 3` tells"
        )
    if resampling is not None and resampling.warning:
        yield resampling.warning


def _without_effect(rows: Sequence[AblationRow]) -> Iterator[str]:
    """Variants that came out as the full recipe did to the last digit, and why that may be."""
    values: dict[str, dict[str, dict[str, list[float]]]] = {}
    for row in rows:
        values.setdefault(row.variant, {})[row.pictures] = row.by_seed
    for name, found in values.items():
        if name == FULL or found != values[FULL]:
            continue
        note = f"{name} is {FULL} to the last digit: what it leaves out changes nothing here"
        if name == NO_BALANCE:
            note += ", where the training photos show every emotion equally often"
        yield note


def write_table(found: Ablation) -> None:
    """Write the tables as numbers (JSON), CSV and Markdown, each whole or not at all."""
    write_text(found.folder / "ablation.json", json.dumps(_plain(found), indent=2) + "\n")
    write_text(found.folder / "ablation.csv", _csv(found))
    text = _markdown(found.table())
    changes = found.changes()
    if changes:
        text += f"\nMinus {FULL}, of the same seed and people:\n\n{_markdown(changes)}"
    text += "".join(f"\n{note}\n" for note in found.notes)
    write_text(found.folder / "ablation.md", text)


def _markdown(table: Sequence[Mapping[str, str]]) -> str:
    return markdown_table(list(table[0]), [list(row.values()) for row in table])


def _plain(found: Ablation) -> dict[str, Any]:
    return {
        "metrics": {name: metric.model_dump(mode="json") for name, metric in found.metrics.items()},
        "rows": [
            {
                "variant": row.variant,
                "pictures": row.pictures,
                "scores": {n: s.model_dump(mode="json") for n, s in row.scores.items()},
                "by_seed": row.by_seed,
                "minus_full": {n: d.model_dump(mode="json") for n, d in row.changes.items()},
            }
            for row in found.rows
        ],
        "notes": found.notes,
    }


def _csv(found: Ablation) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    heads = [f"{name}{end}" for name in found.metrics for end in _PARTS]
    changes = [f"{name}_minus_full{end}" for name in found.metrics for end in _PARTS]
    writer.writerow(["variant", "pictures", *heads, *changes])
    for row in found.rows:
        numbers = [
            getattr(of.get(name), part, None)
            for of in (row.scores, row.changes)
            for name in found.metrics
            for part in _PARTS.values()
        ]
        writer.writerow([row.variant, row.pictures, *numbers])
    return stream.getvalue()
