"""The judges side by side: the one from inside, those from outside, and the loss's own network."""

from __future__ import annotations

from dataclasses import dataclass

from sfe_core.evaluation.reporting.report_tables import Cell, score_cell
from sfe_core.evaluation.summary import EvaluationSummary

TOP1, OF_PHOTOS = "top1", "top1_of_photos"


@dataclass(frozen=True)
class JudgeRow:
    """What one recogniser reads in each set.

    Attributes:
        name: of the network.
        role: what it is here, in words.
        knows: what it does not know and what guessing gives, in words.
        cells: set → share of pictures read as asked.
        ceilings: set → that, as share of what it reads so in the photos.
    """

    name: str
    role: str
    knows: str
    cells: dict[str, Cell]
    ceilings: dict[str, Cell]


def judge_rows(summary: EvaluationSummary) -> list[JudgeRow]:
    """A row for each recogniser, the judge first; none where no emotion was asked for."""
    if not any(summary.emotions.values()):
        return []
    return [
        _row(summary, name)
        for name in summary.recognised
        if f"{TOP1}{summary.metric_suffix(name)}" in summary.metrics
    ]


def photos_first(summary: EvaluationSummary) -> list[str]:
    """The sets by name, the photos before those that are held against them."""
    return sorted(summary.scores, key=lambda name: summary.set_info(name).role != "real")


def told_by_judges(summary: EvaluationSummary) -> list[str]:
    """Names of the metrics that `judge_rows` tells, so that no other table need."""
    endings = [summary.metric_suffix(name) for name in summary.recognised]
    return [
        *(f"{OF_PHOTOS}{ending}" for ending in endings),
        *(f"{TOP1}{ending}" for ending in endings if ending),
    ]


def witness_sentences(summary: EvaluationSummary) -> list[str]:
    """What each judge from outside sees, in words."""
    told = []
    for name, tool in summary.instruments.items():
        metric = f"{TOP1}{summary.metric_suffix(name)}"
        if tool.kind != "witness" or metric not in summary.metrics:
            continue
        values = {title: found[metric].value for title, found in summary.scores.items()}
        shown = [
            f"{summary.metrics[metric].number(value)} % ({summary.titles[title]})"
            for title, value in values.items()
            if value is not None
        ]
        if shown:
            told.append(f"From outside, {tool.backend} sees it in {', '.join(shown)}.")
    return told


def _row(summary: EvaluationSummary, name: str) -> JudgeRow:
    ending, sets = summary.metric_suffix(name), photos_first(summary)
    unreadable = summary.recognised[name].unreadable
    knows = [f"cannot read {', '.join(unreadable)}"] if unreadable else []
    chance = summary.metrics[f"{TOP1}{ending}"].chance
    knows += [] if chance is None else [f"guessing gives {100 * chance:.3g} %"]
    cells = [
        {
            one: score_cell(
                summary.scores[one][metric],
                summary.deltas.get(one, {}).get(metric),
                summary.metrics[metric],
            )
            for one in sets
            if metric in summary.scores[one]
        }
        for metric in (f"{TOP1}{ending}", f"{OF_PHOTOS}{ending}")
    ]
    return JudgeRow(summary.backend_name(name), _role(summary, name), "; ".join(knows), *cells)


def _role(summary: EvaluationSummary, name: str) -> str:
    tool = summary.instruments.get(name)
    kind = "judge" if tool is None else tool.kind
    words = {"judge": "the judge", "witness": "from outside"}.get(kind, "beside")
    if tool is not None and tool.seen_by_loss:
        return "the loss's own" if kind == "recogniser" else f"{words}, yet the loss's own"
    return words
