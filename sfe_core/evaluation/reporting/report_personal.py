"""The personal protocol in the report: a row a strength, and what it says in words."""

from __future__ import annotations

from sfe_core.evaluation.reporting.text_tables import TextRow, TextTable, ToldTables
from sfe_core.evaluation.summary import EvaluationSummary, Interval, PersonalResult

POINT_COLUMNS = {
    "shown": "Shown as asked",
    "probability": "Probability",
    "identity": "Identity",
    "done": "Shown, and the person",
    "lazy": "Lazy: the person, not shown",
    "overdone": "Over-edited: not the person",
}
SET_COLUMNS = {
    "linearity": "Linearity, r",
    "monotone": "Monotone sweeps",
    "gain": "Gain per distance",
    "locality": "Change where faces move, over elsewhere",
    "class_shown": "Class prompt shown",
    "class_kept": "that, less the base’s",
    "class_spread": "Class prompt’s spread",
    "spread_kept": "that, over the base’s",
}
_SHARES = {"shown", "probability", "done", "lazy", "overdone", "monotone", "class_shown"}


def personal_tables(summary: EvaluationSummary) -> ToldTables | None:
    """By model and strength, and by model; None of any other evaluation."""
    found = summary.personal
    if found is None:
        return None
    several = len(found.sets) > 1
    points = [
        TextRow(
            f"{one.title}, {point.strength:g}" if several else f"{point.strength:g}",
            {name: _shown(name, getattr(point, name)) for name in POINT_COLUMNS},
        )
        for one in found.sets.values()
        for point in one.points
    ]
    sets = [
        TextRow(one.title, {name: _shown(name, getattr(one, name)) for name in SET_COLUMNS})
        for one in found.sets.values()
    ]
    by_strength = TextTable("Strength", POINT_COLUMNS, points)
    return ToldTables(
        _sentence(found), (by_strength, TextTable("Over all strengths", SET_COLUMNS, sets))
    )


def _shown(name: str, found: Interval) -> str:
    """`41.7 % [29.2, 54.2]` of shares, `+1.2 points` of their changes, else two digits."""
    if found.value is None or name not in (*_SHARES, "class_kept"):
        return found.shown
    signed = "+" if name == "class_kept" else ""
    ends = (
        ""
        if found.low is None or found.high is None
        else (f" [{100 * found.low:{signed}.1f}, {100 * found.high:{signed}.1f}]")
    )
    unit = " points" if signed else " %"
    return f"{100 * found.value:{signed}.1f}{unit}{ends}".replace("-", "\N{MINUS SIGN}")


def _sentence(found: PersonalResult) -> str:
    """What identity is held against, and from where on it is the person."""
    levels = []
    if found.same is not None:
        levels.append(f"the person’s other photos reach {found.same:.2f}")
    if found.different is not None:
        levels.append(f"{found.different_are} {found.different:.2f}")
    told = f" ({', '.join(levels)})" if levels else ""
    counted = (
        f" A picture counts as the person from {found.least:.2f} on, midway."
        if found.least is not None
        else " Where it is the person no more cannot be told: that needs both levels, well apart."
    )
    return (
        f"Of {found.person}. Identity is the cosine by {found.embedder} to the mean of "
        f"{found.photos} held-out photos{told}.{counted} Strength 0 is the same noise at rest: "
        "whatever is shown there was not asked for. Neutral pictures count in the table above and "
        "not here."
    )
