"""Two evaluations side by side, where they were measured alike."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from sfe_core.config.workspace import Workspace
from sfe_core.errors import RunError, UserError
from sfe_core.evaluation.definitions import stored
from sfe_core.evaluation.scoring import delta_of
from sfe_core.evaluation.statistics.resampling import Resamples, draw_resamples
from sfe_core.evaluation.summary import (
    DRAWING_SECTIONS,
    PERSON,
    Delta,
    EvaluationSummary,
    Metric,
    Score,
    flat,
)
from sfe_core.files import derive_seed

RESAMPLES = 1000
# What an evaluation may have and another not, and both still be compared in what they share.
OPTIONAL = ("witness", "statistics", "identity", "mask", "units", "reconstruction", "noise")
_UNKNOWN = "not known"  # of pictures made elsewhere


class ComparedScore(BaseModel):
    """One metric of one set in both evaluations; `change` is the second minus the first."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    set: str
    metric: str
    title: str
    first: Score
    second: Score
    change: Delta


class Comparison(BaseModel):
    """Two evaluations that may be compared.

    Attributes:
        first, second: the evaluations' folders by name.
        scores: every metric of every set that both have.
        drawn_unlike: settings of the pictures that differ, as (name, first, second).
        metrics: by name, of both.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    first: str
    second: str
    scores: list[ComparedScore]
    drawn_unlike: list[tuple[str, str, str]]
    metrics: dict[str, Metric]

    def table(self, headline: bool = True) -> list[dict[str, str]]:
        """Display strings: `set`, `metric`, both values, `change` and `p`."""
        rows = []
        for score in self.scores:
            metric = self.metrics[score.metric]
            if headline and not metric.headline:
                continue
            p_value = score.change.p_value
            rows.append(
                {
                    "set": score.set,
                    "metric": metric.heading,
                    self.first: metric.show(score.first),
                    self.second: metric.show(score.second),
                    "change": metric.show(score.change, signed=True),
                    "p": "" if p_value is None else f"{p_value:.4f}",
                }
            )
        return rows


def compare(workspace: Workspace, first: str | Path, second: str | Path) -> Comparison:
    """Hold the second evaluation against the first, picture by picture where both have rows.

    Args:
        first, second: an evaluation's folder, its summary.json, or its name below evaluation/.

    Raises:
        UserError: there is no such evaluation, or the two were measured unlike; every unlike
            setting is named.
        RunError: a summary cannot be read.
    """
    summaries = [load_summary(workspace, place) for place in (first, second)]
    unlike = list(_unlike(*summaries))
    if unlike:
        raise UserError(
            f"--compare {first} {second}",
            f"measured unlike: {'; '.join(unlike)}",
            "evaluate both with the same settings, corpus and split",
        )
    names = [summary.folder.name for summary in summaries]
    if names[0] == names[1]:
        names = [f"{names[0]} (A)", f"{names[1]} (B)"]
    one, other = summaries
    tables = [_per_image(summary) for summary in summaries]
    seed = derive_seed("compare", one.keys_sha256) % 2**32
    resamples = draw_resamples(one.pictures, RESAMPLES, seed, _people(tables))
    scores = [
        ComparedScore(
            set=name,
            metric=metric,
            title=one.metrics[metric].title,
            first=one.scores[name][metric],
            second=other.scores[name][metric],
            change=_change(one, other, tables, name, metric, resamples),
        )
        for name in one.scores
        if name in other.scores
        for metric in one.metrics
        if metric in one.scores[name] and metric in other.scores[name]
    ]
    return Comparison(
        first=names[0],
        second=names[1],
        scores=scores,
        drawn_unlike=list(_drawn_unlike(one, other)),
        metrics=one.metrics,
    )


def load_summary(workspace: Workspace, place: str | Path) -> EvaluationSummary:
    """The summary of an evaluation, by folder, file or name below evaluation/.

    Raises:
        UserError: there is none.
        RunError: it is torn, or of another version of sfe.
    """
    path = Path(place).expanduser()
    tried = [path, path / "summary.json", workspace.evaluation / path / "summary.json"]
    found = next((candidate for candidate in tried if candidate.is_file()), None)
    if found is None:
        known = sorted(path.parent.name for path in workspace.evaluation.glob("*/summary.json"))
        raise UserError(
            f"--compare {place}", "no evaluation", f"there are: {', '.join(known) or 'none'}"
        )
    try:
        stored = json.loads(found.read_text(encoding="utf-8"))
        return EvaluationSummary.model_validate({**stored, "folder": found.parent})
    except (OSError, ValueError, ValidationError) as error:
        raise RunError(
            found, f"cannot be read ({str(error).splitlines()[0]})", "run `sfe evaluate` again"
        ) from error


def _unlike(first: EvaluationSummary, second: EvaluationSummary) -> Iterator[str]:
    """Every way in which the two were measured differently."""
    facts = {
        "split": lambda s: s.split,
        "keys": lambda s: s.keys_sha256[:12],
        "resolution": lambda s: s.resolution,
        "corpus": lambda s: s.provenance.corpus_sha256[:12],
        "reference photos": lambda s: f"{s.reference.n} of {s.reference.sha256[:12]}",
    }
    for name, of in facts.items():
        if of(first) != of(second):
            yield f"{name} {of(first)} and {of(second)}"
    for name in dict.fromkeys([*first.instruments, *second.instruments]):
        one, other = first.instruments.get(name), second.instruments.get(name)
        if one is None or other is None:
            known = one or other
            if known is not None and known.kind in OPTIONAL:
                continue
            yield f"{name} measured only one of them"
            continue
        for field in ("backend", "weights_sha256", "resize"):
            values = getattr(one, field), getattr(other, field)
            if values[0] != values[1]:
                shown = [value[:12] if field == "weights_sha256" else value for value in values]
                yield f"{name}: {field} {shown[0]} and {shown[1]}"
    yield from _unlike_counts(first, second)


def _unlike_counts(first: EvaluationSummary, second: EvaluationSummary) -> Iterator[str]:
    """Sets of which unlike numbers of pictures stand behind a distance, which depends on them."""
    distances = [name for name, metric in first.metrics.items() if metric.group == "distribution"]
    for name in first.scores:
        for metric in distances[:1]:
            counts = [s.scores.get(name, {}).get(metric) for s in (first, second)]
            numbers = [score.n for score in counts if score is not None]
            if len(set(numbers)) > 1:
                yield f"{name}: N {numbers[0]} and {numbers[1]} pictures"


def _drawn_unlike(
    first: EvaluationSummary, second: EvaluationSummary
) -> Iterator[tuple[str, str, str]]:
    one, other = (dict(flat(summary.provenance.settings)) for summary in (first, second))
    for name in dict.fromkeys([*one, *other]):
        if name.split(".")[0] in DRAWING_SECTIONS and one.get(name) != other.get(name):
            yield name, str(one.get(name, _UNKNOWN)), str(other.get(name, _UNKNOWN))


def _change(
    first: EvaluationSummary,
    second: EvaluationSummary,
    tables: list[pd.DataFrame | None],
    name: str,
    metric: str,
    resamples: Resamples,
) -> Delta:
    pair = [
        None if table is None else stored(metric, table, summary.set_info(name).prefix)
        for summary, table in zip((first, second), tables, strict=True)
    ]
    if pair[0] is not None and pair[1] is not None:
        return delta_of(pair[0], pair[1], resamples)
    before, after = (summary.scores[name][metric] for summary in (first, second))
    if before.value is None or after.value is None:
        reason = before.reason or after.reason
        return Delta(value=None, low=None, high=None, n=after.n, reason=reason)
    change = after.value - before.value
    return Delta(value=change, low=None, high=None, n=after.n, reason="no pictures to pair")


def _people(tables: list[pd.DataFrame | None]) -> np.ndarray | None:
    """Who is on each picture, by the first table that says so; both are of the same photos."""
    for table in tables:
        if table is not None and PERSON in table:
            return table[PERSON].to_numpy(dtype=object)
    return None


def _per_image(summary: EvaluationSummary) -> pd.DataFrame | None:
    try:
        table = pd.read_csv(summary.folder / "per_image.csv", dtype={PERSON: object})
    except (OSError, ValueError):
        return None
    return table if len(table) == summary.pictures else None
