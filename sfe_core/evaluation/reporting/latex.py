"""The short table for a paper: a booktabs tabular that `input` takes in."""

from __future__ import annotations

from sfe_core.evaluation.summary import EvaluationSummary, Metric, Score

_ESCAPES = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        **{sign: rf"\{sign}" for sign in "{}&%$#_"},
    }
)
_MARKS = {"better": r"\ast", "worse": r"\circ"}


def latex_table(summary: EvaluationSummary) -> str:
    """Headline metrics by set, with 95 % intervals, as a tabular environment.

    The best value of a row is bold (real photos apart); a star marks a set that is better than the
    baseline beyond its 95 % interval, a circle one that is worse. Rows without any value are left
    out. Needs the package booktabs.
    """
    names = list(summary.titles)
    heading = " & ".join(["", *(escape(summary.titles[name]) for name in names)])
    lines = [
        *_comments(summary),
        r"\begingroup\setlength{\tabcolsep}{4pt}%",
        rf"\begin{{tabular}}{{@{{}}l{'r' * len(names)}@{{}}}}",
        r"\toprule",
        rf"{heading} \\",
    ]
    group = None
    for name, metric in summary.metrics.items():
        row = [summary.scores[column][name] for column in names]
        if not metric.headline or all(score.value is None for score in row):
            continue
        lines += [r"\midrule"] if metric.group != group else []
        group = metric.group
        has_intervals = any(score.low is not None for score in row)
        title, instrument = _split(metric.title) if has_intervals else (metric.title, "")
        lines.append(rf"{_values(summary, name, names, title)} \\")
        if has_intervals:
            lines.append(rf"{_intervals(row, metric, instrument)} \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}\endgroup"]) + "\n"


def escape(text: str) -> str:
    """Text with LaTeX's special characters made harmless, on one line."""
    return " ".join(text.split()).translate(_ESCAPES)


def _comments(summary: EvaluationSummary) -> list[str]:
    """Where the numbers come from; `%` ends at the line's end, so names must not hold another."""
    origin = summary.provenance
    facts = (
        r"needs \usepackage{booktabs}",
        f"{origin.package} on {summary.split}, {summary.counted}, "
        f"{summary.resolution} px, sfe {origin.sfe}",
        f"corpus {origin.corpus_sha256}",
        "in brackets: 95 % intervals; star, circle: better, worse than "
        f"{summary.titles.get(summary.baseline, 'the baseline')} beyond that",
    )
    return [f"% {' '.join(fact.split())}" for fact in facts]


def _split(title: str) -> tuple[str, str]:
    """`Fréchet (judge)` as `Fréchet` and `(judge)`, which then stands under it."""
    place = title.find(" (")
    return (title[:place], title[place + 1 :]) if place > 0 else (title, "")


def _values(summary: EvaluationSummary, name: str, names: list[str], title: str) -> str:
    metric = summary.metrics[name]
    unit = "" if metric.unit == "" else r", \%"
    arrow = r"$\uparrow$" if metric.better == "higher" else r"$\downarrow$"
    cells = [f"{escape(title)}{unit} {arrow}"]
    best = _best(summary, name, names)
    for column in names:
        delta = summary.deltas.get(column, {}).get(name)
        verdict = metric.verdict(delta) if delta is not None and delta.value is not None else ""
        cells.append(_cell(summary.scores[column][name], metric, column in best, verdict))
    return " & ".join(cells)


def _best(summary: EvaluationSummary, name: str, names: list[str]) -> set[str]:
    """Sets with the best value as shown; none where there is nothing to choose between."""
    metric = summary.metrics[name]
    drawn = [column for column in names if summary.set_info(column).role != "real"]
    found = {column: summary.scores[column][name].value for column in drawn}
    values = {column: value for column, value in found.items() if value is not None}
    if len(values) < 2:
        return set()
    chosen = (max if metric.better == "higher" else min)(values.values())
    return {c for c, value in values.items() if metric.number(value) == metric.number(chosen)}


def _cell(score: Score, metric: Metric, best: bool, verdict: str) -> str:
    if score.value is None:
        return "--"
    value = _digits(score.value, metric)
    text = rf"$\mathbf{{{value}}}" if best else f"${value}"
    return text + (rf"^{{{_MARKS[verdict]}}}$" if verdict in _MARKS else "$")


def _intervals(row: list[Score], metric: Metric, instrument: str) -> str:
    """A row of its own, so that the table stays as narrow as a column of text."""
    cells = [rf"{{\scriptsize {escape(instrument)}}}" if instrument else ""]
    for score in row:
        if score.low is None or score.high is None:
            cells.append("")
            continue
        bounds = f"{_digits(score.low, metric)}, {_digits(score.high, metric)}"
        cells.append(rf"{{\scriptsize $[{bounds}]$}}")
    return " & ".join(cells)


def _digits(value: float, metric: Metric) -> str:
    return metric.number(value).replace("\N{MINUS SIGN}", "-")
