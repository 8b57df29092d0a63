"""Action units in the report: how each set follows what was asked of it, unit by unit, in words."""

from __future__ import annotations

from dataclasses import dataclass

from sfe_core.controls.action_units import ACTION_UNITS
from sfe_core.evaluation.reporting.report_tables import Cell, score_cell
from sfe_core.evaluation.summary import EvaluationSummary, UnitsResult

FOLLOWED, NOT_FOLLOWED, LEAKY = 0.8, 0.5, 0.2
COLUMNS = {
    "pearson": "Pearson",
    "spearman": "Spearman",
    "slope": "Slope",
    "mse": "MSE",
    "pearson_left": "Pearson, left",
    "pearson_right": "Pearson, right",
    "f1": "F1",
}
_EMPTY = Cell("", "", "", "", "", "")


@dataclass(frozen=True)
class UnitRow:
    """One unit of one set.

    Attributes:
        code, name: of FACS.
        cells: by the names of `COLUMNS`, as far as the table has them.
        unasked: what the others moved.
        most: which of them most.
        ceiling: Pearson's r on the real photos.
    """

    code: str
    name: str
    cells: dict[str, Cell]
    unasked: str
    most: str
    ceiling: str


@dataclass(frozen=True)
class UnitTable:
    """How one set follows what was asked of its units; `columns`: names to headings."""

    title: str
    sentence: str
    columns: dict[str, str]
    rows: list[UnitRow]


def unit_tables(summary: EvaluationSummary) -> list[UnitTable]:
    """A table for each set, the fine-tuned one to show first; none without units."""
    found = summary.units
    if found is None:
        return []
    order = {"tuned": 0, "other": 1, "base": 2, "real": 3}
    names = sorted(
        (name for name in summary.scores if name in found.sets),
        key=lambda name: (name != summary.tuned, order[summary.set_info(name).role]),
    )
    return [_table(summary, found, name) for name in names]


def unit_judge_sentence(summary: EvaluationSummary) -> str:
    """Which network read the units, and that it had no part in labels or training."""
    found = summary.units
    if found is None:
        return ""
    by, steering = ", ".join(found.labels_read_by), ", ".join(summary.provenance.loss_networks)
    labels = f"their labels by {by}" if by else "no network is said to have read their labels"
    steered = f"{steering} steered the training" if steering else "no network steered the training"
    if not summary.provenance.base:
        steered = "what steered the training of pictures made elsewhere is not known"
    return (
        f"Action units are read by {found.judge}, {labels}; {steered}. A network that is known to "
        "have labelled or steered is refused as judge. What it reads in the photos is its ceiling."
    )


def units_lead(summary: EvaluationSummary) -> str:
    """How many units the set to show follows, in words; empty without units."""
    found = summary.units
    if found is None:
        return ""
    shown = summary.tuned if summary.tuned in found.sets else next(iter(found.sets))
    return f"Action units, {summary.titles[shown]}: {_sentence(summary, found, shown)}"


def _sentence(summary: EvaluationSummary, found: UnitsResult, name: str) -> str:
    scores = summary.scores[name]
    read = {unit: scores.get(f"unit_pearson_{unit}") for unit in found.units}
    known = {u: one.value for u, one in read.items() if one is not None and one.value is not None}
    if not known:
        return "none was asked for in different strengths."
    good = sum(value >= FOLLOWED for value in known.values())
    bad = [unit for unit, value in known.items() if value < NOT_FOLLOWED]
    unasked = [one.value for one in found.sets[name].unasked if one.value is not None]
    leaky = sum(value > LEAKY for value in unasked)
    below = f"{len(bad)} below {NOT_FOLLOWED}" + (f" ({', '.join(bad)})" if bad else "")
    return (
        f"{good} of {len(known)} follow with a Pearson of {FOLLOWED} or more, {below}; "
        f"{leaky} of {len(unasked)} move the others by more than {100 * LEAKY:.0f} % of themselves."
    )


def _table(summary: EvaluationSummary, found: UnitsResult, name: str) -> UnitTable:
    scores = summary.scores[name]
    columns = {
        kind: title
        for kind, title in COLUMNS.items()
        if any(
            score.value is not None
            for unit in found.units
            if (score := scores.get(f"unit_{kind}_{unit}")) is not None
        )
    }
    rows = [_row(summary, found, name, unit, columns) for unit in found.units]
    return UnitTable(summary.titles[name], _sentence(summary, found, name), columns, rows)


def _row(
    summary: EvaluationSummary, found: UnitsResult, name: str, unit: str, columns: dict[str, str]
) -> UnitRow:
    cells, place, own = {}, found.units.index(unit), found.sets[name]
    for kind in columns:
        metric = f"unit_{kind}_{unit}"
        score = summary.scores[name].get(metric)
        cells[kind] = _EMPTY if score is None else score_cell(score, None, summary.metrics[metric])
    photos = [n for n in summary.with_role("real") if f"unit_pearson_{unit}" in summary.scores[n]]
    ceiling = summary.scores[photos[0]][f"unit_pearson_{unit}"].value if photos else None
    return UnitRow(
        code=unit,
        name=ACTION_UNITS[unit].name,
        cells=cells,
        unasked=own.unasked[place].shown,
        most=_most(own.leakage[place], found.units, place),
        ceiling="n/a" if ceiling is None else f"{ceiling:.2f}",
    )


def _most(slopes: list[float | None], units: list[str], place: int) -> str:
    """The other unit that moves most, and by which share of this one's own."""
    own = slopes[place]
    others = {
        unit: abs(value)
        for other, (unit, value) in enumerate(zip(units, slopes, strict=True))
        if other != place and value is not None
    }
    if not own or not others:
        return ""
    most = max(others, key=lambda unit: others[unit])
    return f"{most} {others[most] / abs(own):.2f}"
