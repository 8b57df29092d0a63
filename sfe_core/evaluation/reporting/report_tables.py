"""The report's tables as cells: scores, differences to the base, published numbers, networks."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sfe_core.evaluation.summary import (
    Delta,
    EvaluationSummary,
    InstrumentInfo,
    Metric,
    PublishedScore,
    Score,
    flat,
)

GROUPS = {
    "emotion": "Emotion",
    "affect": "Valence and arousal",
    "units": "Action units",
    "guidance": "Geometry asked for",
    "distribution": "Likeness to photos, as a set",
    "perceptual": "Likeness to its photo",
    "identity": "Identity",
    "text": "Caption",
}


@dataclass(frozen=True)
class Cell:
    """One score in a table: its text, and how it stands against the base."""

    value: str
    interval: str
    delta: str
    verdict: str  # better | worse | even | ""
    reason: str
    detail: str  # n, and the paired test


@dataclass(frozen=True)
class PublishedCell:
    """A published pair of numbers: `31.0 → 39.0 %`, its change, and its footnote."""

    title: str
    values: str
    delta: str
    mark: int  # of its footnote, 0 = none


@dataclass(frozen=True)
class Row:
    """One metric over all sets."""

    metric: Metric
    cells: dict[str, Cell]
    published: PublishedCell | None
    seen_by_loss: bool
    baselines: list[tuple[str, str]]


@dataclass(frozen=True)
class ScoreTable:
    """Rows under the headings of their groups, and what to know of the published numbers.

    `unlike_all` is unlike there for every published number, each of `footnotes` for the marked.
    """

    groups: list[tuple[str, list[Row]]]
    has_published: bool
    unlike_all: list[str]
    footnotes: list[str]


def score_table(
    summary: EvaluationSummary, headline: bool, elsewhere: Collection[str] = ()
) -> ScoreTable:
    """The short table (`headline`), or the one of all further metrics that have a value.

    Args:
        elsewhere: metrics that another table tells; they stand here only beside published numbers.
    """
    published = {one.metric: one for one in summary.published} if headline else {}
    common = _common([one.differences for one in published.values()])
    footnotes: list[str] = []
    found: dict[str, list[Row]] = {}
    for name, metric in summary.metrics.items():
        used = any(scores[name].value is not None for scores in summary.scores.values())
        beside = published.get(name)
        if metric.headline != headline or not (used or headline):
            continue
        if name in elsewhere and beside is None:
            continue
        cell = None
        if beside is not None:
            own = [text for text in beside.differences if text not in common]
            footnotes += ["; ".join(own)] if own else []
            cell = _published(beside, metric, len(footnotes) if own else 0)
        found.setdefault(metric.group, []).append(_row(summary, name, metric, cell))
    groups = [(GROUPS[name], found[name]) for name in GROUPS if name in found]
    return ScoreTable(groups, bool(published), common, footnotes)


def _common(lists: list[list[str]]) -> list[str]:
    """What stands in every list, in the order of the first."""
    return [text for text in lists[0] if all(text in one for one in lists)] if lists else []


def _row(
    summary: EvaluationSummary, name: str, metric: Metric, published: PublishedCell | None
) -> Row:
    cells = {
        variant: score_cell(scores[name], summary.deltas.get(variant, {}).get(name), metric)
        for variant, scores in summary.scores.items()
    }
    levels = summary.baselines.get(name, {})
    return Row(
        metric,
        cells,
        published,
        seen_by_loss(summary, name),
        [(title, metric.number(level) + metric.unit_sign) for title, level in levels.items()],
    )


def seen_by_loss(summary: EvaluationSummary, name: str) -> bool:
    """Whether the fine-tuning optimised against the network that measured this metric."""
    instrument = summary.instruments.get(summary.metrics[name].instrument)
    if instrument is not None:
        return instrument.seen_by_loss
    backend = next(iter(summary.scores.values()))[name].backend
    return backend in summary.provenance.loss_networks  # of summaries without instruments


def score_cell(score: Score, delta: Delta | None, metric: Metric) -> Cell:
    """A score as its cell shows it; `delta`: to the base, None where there is none."""
    detail = f"n = {score.n}" + ("" if score.people is None else f" of {score.people} people")
    if score.value is None:
        return Cell("n/a", "", "", "", score.reason, detail)
    interval = ""
    if score.low is not None and score.high is not None:
        interval = f"{metric.number(score.low)} to {metric.number(score.high)}"
    moved, verdict = "", ""
    if delta is not None and delta.value is not None:
        moved, verdict = metric.change(delta.value), metric.verdict(delta)
        if delta.low is not None and delta.high is not None:
            bounds = (metric.number(delta.low, True), metric.number(delta.high, True))
            detail += f"; difference {moved} [{bounds[0]}, {bounds[1]}]"
        if delta.p_value is not None:
            detail += f"; {delta.test}, {p_text(delta.p_value)}"
    text = metric.number(score.value) + metric.unit_sign
    return Cell(text, interval, moved, verdict, score.reason, detail)


def p_text(p_value: float) -> str:
    """`p = 0.0312`, or `p < 0.0001`."""
    return "p < 0.0001" if p_value < 1e-4 else f"p = {p_value:.4f}"


def _published(score: PublishedScore, metric: Metric, mark: int) -> PublishedCell:
    own = metric.model_copy(update={"unit": score.unit, "digits": score.digits})
    values = f"{own.number(score.base)} → {own.number(score.tuned)}{own.unit_sign}"
    return PublishedCell(score.title, values, own.change(score.tuned - score.base), mark)


def instrument_rows(summary: EvaluationSummary) -> list[dict[str, str]]:
    """What measured: backend, beginning of its weights' hash, resize rule, and its metrics."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for name, metric in summary.metrics.items():
        score = next(iter(summary.scores.values()))[name]
        entry = rows.setdefault(
            (score.backend, score.resize),
            {
                "backend": score.backend,
                "role": _role(summary.instruments, metric),
                "sha256": score.weights_sha256,
                "resize": score.resize,
                "seen_by_loss": "yes" if seen_by_loss(summary, name) else "no",
                "metrics": "",
            },
        )
        if metric.headline:
            entry["metrics"] += (", " if entry["metrics"] else "") + metric.title
    return list(rows.values())


def _role(instruments: Mapping[str, InstrumentInfo], metric: Metric) -> str:
    return instruments[metric.instrument].kind if metric.instrument in instruments else ""


def meanings(summary: EvaluationSummary) -> list[tuple[str, str]]:
    """Title and one sentence of every metric that says what it is; each sentence once."""
    found: dict[str, str] = {}
    for metric in summary.metrics.values():
        if metric.description:
            found.setdefault(metric.description, metric.title)
    return [(title, description) for description, title in found.items()]


def flat_settings(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Nested settings as dotted names and texts."""
    return [
        (name, ", ".join(map(str, value)) if isinstance(value, list) else str(value))
        for name, value in flat(settings)
    ]
