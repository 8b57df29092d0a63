"""What is asked of the tiny preset, and whether pooled evaluations hold it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sfe_core.evaluation.ablation_table import Ablation
from sfe_core.evaluation.pool import Measured, Pool
from sfe_core.evaluation.statistics.intervals import Estimate
from sfe_core.evaluation.summary import REAL, Metric, Score

SETS = (REAL, "base", "text", "guided")
DISTANCES = ("frechet", "kernel", "fid", "kid")
# Least pictures, people and training seeds that the measures are to be of.
LEAST = (300, 40, 3)


@dataclass(frozen=True)
class Measure:
    """One thing asked for.

    Attributes:
        what: it is.
        wanted: in words.
        shown: the number with its interval, in words.
        held: None where it was not measured.
        found: the number itself.
    """

    what: str
    wanted: str
    shown: str
    held: bool | None
    found: Estimate | None = None

    @property
    def verdict(self) -> str:
        """In a word or two."""
        return {True: "held", False: "missed", None: "not measured"}[self.held]


def measures(pool: Pool) -> list[Measure]:
    """All of them, in the order they were asked for."""
    return [
        _enough(pool),
        *_emotions(pool),
        *_distances(pool),
        *_geometry_and_affect(pool),
        *_outside(pool),
    ]


def _enough(pool: Pool) -> Measure:
    summary, (pictures, people, seeds) = pool.summaries[0], LEAST
    known = 0 if summary.resampling is None else summary.resampling.people
    found = (summary.pictures, known, len(pool.summaries))
    return Measure(
        "pictures, people and training seeds",
        f"at least {pictures}, {people} and {seeds}",
        f"{found[0]}, {found[1]} and {found[2]}",
        all(have >= least for have, least in zip(found, LEAST, strict=True)),
    )


def _emotions(pool: Pool) -> Iterator[Measure]:
    text, base = pool.measured("text", "top1"), pool.measured("base", "top1")
    gain = None if text is None or base is None else text.minus(base)
    yield _at_least("Top-1 of text minus base, inside judge", gain, 0.25, 0.15, "points")
    yield _at_least(
        "Top-1 of guided over real photos, inside judge",
        _ratio(pool, "guided", "top1"),
        0.80,
        0.70,
        "%",
    )


def _distances(pool: Pool) -> Iterator[Measure]:
    """Below the base's, intervals apart."""
    metrics = pool.summaries[0].metrics
    names = [name for name in metrics if name.partition("_")[0] in DISTANCES]
    for name in names:
        for pictures in ("text", "guided"):
            what, wanted = f"{metrics[name].title} of {pictures}", "below base, intervals apart"
            own, base = pool.score(pictures, name), pool.score("base", name)
            if own is None or base is None or own.value is None or base.value is None:
                yield Measure(what, wanted, "", None)
                continue
            apart = own.high is not None and base.low is not None and own.high < base.low
            shown = f"{metrics[name].show(own)}, base {metrics[name].show(base)}"
            yield Measure(what, wanted, shown, apart and own.value < base.value, _estimate(own))


def _geometry_and_affect(pool: Pool) -> Iterator[Measure]:
    metrics = pool.summaries[0].metrics
    asked = (("landmark_error", 5.0, "≤ 5 %"), ("valence_ccc", 0.8, "≥ 0.8"))
    for name, limit, wanted in (*asked, ("arousal_ccc", 0.8, "≥ 0.8")):
        score = pool.score("guided", name)
        what = f"{metrics[name].title if name in metrics else name} of guided"
        if score is None or score.value is None:
            yield Measure(what, wanted, "", None)
            continue
        below = metrics[name].better == "lower"
        held = score.value <= limit if below else score.value >= limit
        yield Measure(what, wanted, metrics[name].show(score), held, _estimate(score))


def outside_judges(pool: Pool) -> list[str]:
    """Recognisers that learnt on photos of real people, and were not optimised against."""
    tools = pool.summaries[0].instruments
    return [
        name for name, tool in tools.items() if tool.kind == "witness" and not tool.seen_by_loss
    ]


def _outside(pool: Pool) -> Iterator[Measure]:
    judges = outside_judges(pool)
    if not judges:
        what = "Top-1 of guided and text over real photos, outside judges"
        yield Measure(what, "≥ 70 % and ≥ 40 %", "no outside judge is installed", None)
    for judge in judges:
        for pictures, least in (("guided", 0.70), ("text", 0.40)):
            ratio = _ratio(pool, pictures, f"top1_{judge}")
            what = f"Top-1 of {pictures} over real photos, outside judge {judge}"
            yield _at_least(what, ratio, least, -math.inf, "%")


def _ratio(pool: Pool, pictures: str, metric: str) -> Measured | None:
    own, real = pool.measured(pictures, metric), pool.measured(REAL, metric)
    return None if own is None or real is None else own.over(real)


def _at_least(what: str, measured: Measured | None, value: float, low: float, unit: str) -> Measure:
    wanted = f"≥ {100 * value:.0f} {unit}"
    if math.isfinite(low):
        wanted += f", lower end ≥ {100 * low:.0f}"
    found = None if measured is None else measured.pooled()
    if found is None or found.value is None:
        return Measure(what, wanted, "", None)
    shown = f"{100 * found.value:.1f} {unit}"
    if found.low is not None and found.high is not None:
        shown += f" [{100 * found.low:.1f}, {100 * found.high:.1f}]"
    lowest = -math.inf if found.low is None else found.low
    return Measure(what, wanted, shown, found.value >= value and lowest >= low, found)


def _estimate(score: Score) -> Estimate:
    return Estimate(score.value, score.low, score.high, score.n, score.reason, score.people)


def rows_table(pool: Pool) -> list[list[str]]:
    """Headline metrics by set, pooled: title, then one cell a set."""
    rows = []
    for name, metric in pool.summaries[0].metrics.items():
        if metric.headline:
            cells = [_cell(pool, pictures, name, metric) for pictures in SETS if pool.has(pictures)]
            rows.append([metric.heading, *cells])
    return rows


def _cell(pool: Pool, pictures: str, name: str, metric: Metric) -> str:
    values = pool.values(pictures, name)
    spread = ""
    if len(set(values)) > 1:
        spread = f"; seeds {metric.number(min(values))} to {metric.number(max(values))}"
    return metric.show(pool.score(pictures, name)) + spread


def worth(found: Ablation, guidance: Pool) -> list[tuple[str, str]]:
    """What each part is worth, in words: part, and what leaving it out does that is clear.

    Args:
        found: the ablation.
        guidance: of the full recipe, whose guided pictures are held against its text ones.
    """
    words: dict[str, list[str]] = {}
    for row in found.rows:
        for name, change in row.changes.items():
            metric = found.metrics[name]
            clear = words.setdefault(row.variant, [])
            verdict = metric.verdict(change)
            if verdict != "even":
                told = metric.show(change, signed=True)
                clear.append(f"{row.pictures} {metric.title} {told} ({verdict} without it)")
    told = [(variant, _clear(clear)) for variant, clear in words.items()]
    return [*told, ("guided minus text, full recipe", _clear(_guidance(guidance, found)))]


def _guidance(pool: Pool, found: Ablation) -> list[str]:
    clear = []
    for name, metric in found.metrics.items():
        guided, text = pool.measured("guided", name), pool.measured("text", name)
        if guided is None or text is None:
            continue
        gap = guided.minus(text).pooled()
        if gap.low is not None and gap.high is not None and not gap.low <= 0.0 <= gap.high:
            score = pool.scores("guided", name)[0].model_copy(update=vars(gap))
            clear.append(f"{metric.title} {metric.show(score, signed=True)}")
    return clear


def _clear(clear: Sequence[str]) -> str:
    return "; ".join(clear) or "nothing that is clear here"
