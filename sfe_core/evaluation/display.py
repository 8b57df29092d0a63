"""Numbers as people read them: unit, digits, interval, a true minus sign."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sfe_core.evaluation.summary import Delta, Metric, Score


def display(score: Score | Delta | None, metric: Metric, signed: bool = False) -> str:
    """A score as `41.7 % [29.2, 54.2]`; `n/a` where there is none."""
    if score is None or score.value is None:
        return "n/a"
    text = number(score.value, metric, signed) + unit_sign(metric)
    if score.low is None or score.high is None:
        return text
    return f"{text} [{number(score.low, metric, signed)}, {number(score.high, metric, signed)}]"


def number(value: float, metric: Metric, signed: bool = False) -> str:
    """A value in the metric's unit and digits, with a true minus sign."""
    scaled = value * 100.0 if metric.unit == "share" else value
    text = f"{scaled:{'+' if signed else ''}.{metric.digits}f}"
    return text.replace("-", "\N{MINUS SIGN}")


def unit_sign(metric: Metric) -> str:
    """` %` after shares and percentages, nothing after the rest."""
    return "" if metric.unit == "" else " %"


def change(value: float, metric: Metric) -> str:
    """A difference: `+8.3 points` between shares, `−0.012` elsewhere."""
    return number(value, metric, signed=True) + ("" if metric.unit == "" else " points")


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, from cells that hold no `|`; ends with a line break."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
