"""Which emotion recognisers a summary holds, and how their metrics are called."""

from __future__ import annotations

from sfe_core.evaluation.summary import EvaluationSummary, RecogniserResult

JUDGE = "judge"


def recognitions_of(summary: EvaluationSummary) -> dict[str, RecogniserResult]:
    """Instrument → what it sees, the judge first; a summary without them still has the judge's."""
    if not summary.recognitions:
        return {JUDGE: RecogniserResult(confusion=summary.confusion, as_photo={}, reliability={})}
    judge = judge_name(summary)
    others = {name: found for name, found in summary.recognitions.items() if name != judge}
    return {judge: summary.recognitions[judge], **others}


def judge_name(summary: EvaluationSummary) -> str:
    """The instrument that plays the judge; the first recogniser where none is marked."""
    for name in summary.recognitions:
        if name in summary.instruments and summary.instruments[name].kind == "judge":
            return name
    return next(iter(summary.recognitions), JUDGE)


def metric_suffix(summary: EvaluationSummary, instrument: str) -> str:
    """What follows `top1`, `recall_happy` and so on: nothing for the judge."""
    return "" if instrument == judge_name(summary) else f"_{instrument}"


def backend_name(summary: EvaluationSummary, instrument: str) -> str:
    """The network behind an instrument, as people call it."""
    if instrument in summary.instruments:
        return summary.instruments[instrument].backend
    scores = next(iter(summary.scores.values()), {})
    return scores["top1"].backend if "top1" in scores else instrument
