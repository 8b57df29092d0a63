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
from sfe_core.evaluation.metrics import in_ablation
from sfe_core.evaluation.resampled import load_resampled
from sfe_core.evaluation.statistics.pooling import Resampled, pooled
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
    seen = {
        name: [_Seed(summary.scores, load_resampled(summary.folder)) for summary in of_seeds]
        for name, of_seeds in summaries.items()
    }
    rows = [
        _row(variant, pictures, seen, metrics)
        for variant in seen
        for pictures in SETS
        if all(pictures in seed.scores for seed in seen[variant])
    ]
    notes = [*_of_intervals(summaries[FULL]), *_without_effect(rows)]
    return Ablation(rows, metrics, folder, tuple(notes))


@dataclass(frozen=True)
class _Seed:
    """What was measured of one variant of one training seed: set, then metric."""

    scores: Mapping[str, Mapping[str, Score]]
    resampled: Mapping[str, Mapping[str, Resampled]]

    def drawn(self, pictures: str, metric: str) -> Resampled | None:
        return self.resampled.get(pictures, {}).get(metric)

    def value(self, pictures: str, metric: str) -> float | None:
        score = self.scores.get(pictures, {}).get(metric)
        return None if score is None else score.value


def _row(
    variant: str,
    pictures: str,
    seen: Mapping[str, Sequence[_Seed]],
    metrics: Mapping[str, Metric],
) -> AblationRow:
    own, full = seen[variant], () if variant == FULL else seen[FULL]
    scores, by_seed, changes = {}, {}, {}
    for name, metric in metrics.items():
        if any(name not in seed.scores[pictures] for seed in own):
            continue
        scores[name] = _score(own, pictures, name, metric)
        values = [seed.value(pictures, name) for seed in own]
        by_seed[name] = [value for value in values if value is not None]
        change = _change(own, full, pictures, name)
        if change is not None:
            changes[name] = change
    return AblationRow(variant, pictures, scores, by_seed, changes)


def _score(own: Sequence[_Seed], pictures: str, name: str, metric: Metric) -> Score:
    """Pooled; where a seed has no value there is none, and no interval without its resamples."""
    every = [seed.scores[pictures][name] for seed in own]
    values = [score.value for score in every if score.value is not None]
    drawn = [one for seed in own if (one := seed.drawn(pictures, name)) is not None]
    if len(own) == 1 or len(values) < len(own):
        return next((score for score in every if score.value is None), every[0])
    if len(drawn) < len(own):
        nothing = {"low": None, "high": None, "reason": "no interval: no resamples were kept"}
        return every[0].model_copy(update={"value": sum(values) / len(values)} | nothing)
    return every[0].model_copy(update=vars(pooled(values, drawn, metric.unit == "share")))


def _change(own: Sequence[_Seed], full: Sequence[_Seed], pictures: str, name: str) -> Delta | None:
    """Minus the full recipe, seed by seed; None where a seed has nothing to hold against it."""
    values, drawn = [], []
    for one, other in zip(own, full, strict=False):
        after, before = one.value(pictures, name), other.value(pictures, name)
        after_drawn, before_drawn = one.drawn(pictures, name), other.drawn(pictures, name)
        if after is None or before is None or after_drawn is None or before_drawn is None:
            return None
        values.append(after - before)
        drawn.append(after_drawn.minus(before_drawn))
    return Delta(**vars(pooled(values, drawn))) if values else None


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
