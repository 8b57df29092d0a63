"""The self-contained page of an evaluation: one HTML file that asks nothing of the network."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from sfe_core.evaluation.pictures import PictureSet
from sfe_core.evaluation.reporting.plot_style import inline_svg
from sfe_core.evaluation.reporting.plots import PlotGroup
from sfe_core.evaluation.reporting.report_judges import (
    judge_rows,
    photos_first,
    told_by_judges,
    witness_sentences,
)
from sfe_core.evaluation.reporting.report_personal import personal_tables
from sfe_core.evaluation.reporting.report_physical import physical_lead, physical_tables
from sfe_core.evaluation.reporting.report_strips import NO_STRIPS, best_and_worst
from sfe_core.evaluation.reporting.report_tables import (
    flat_settings,
    instrument_rows,
    meanings,
    p_text,
    score_table,
)
from sfe_core.evaluation.reporting.report_units import (
    unit_judge_sentence,
    unit_tables,
    units_lead,
)
from sfe_core.evaluation.statistics.paired_tests import MCNEMAR
from sfe_core.evaluation.summary import EvaluationSummary


def render_report(
    summary: EvaluationSummary,
    table: pd.DataFrame,
    sets: Mapping[str, PictureSet],
    plots: Sequence[PlotGroup],
    story: Path | None = None,
) -> str:
    """The page as text.

    Args:
        summary: the numbers.
        table: per-image rows as `outputs.per_image_table` makes them.
        sets: where the pictures of the strips come from.
        plots: embedded as SVG, in the colours of the reader's theme.
        story: the sheet of one person, to be embedded.
    """
    environment = Environment(
        loader=PackageLoader("sfe_core.evaluation", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["svg"] = lambda plot: Markup(inline_svg(plot.svg, plot.name, plot.title))
    return (
        environment.get_template("report.html.j2").render(
            summary=summary,
            judge=_judge(summary),
            story_heading=_story_heading(summary, bool(sets)),
            lead=lead_sentence(summary),
            headline=score_table(summary, True, told_by_judges(summary)),
            judges=judge_rows(summary),
            personal=personal_tables(summary),
            physical=physical_tables(summary),
            units=unit_tables(summary),
            units_judge=unit_judge_sentence(summary),
            judged_sets=photos_first(summary),
            further=score_table(summary, False),
            tests=paired_sentences(summary),
            plots=plots,
            story=None if story is None else _embedded(story),
            strips=best_and_worst(summary, table, sets) if sets else NO_STRIPS,
            instruments=instrument_rows(summary),
            meanings=meanings(summary),
            settings=flat_settings(summary.provenance.settings),
        )
        + "\n"
    )


def _story_heading(summary: EvaluationSummary, of_photos: bool) -> str:
    if summary.personal is not None:
        return "One noise, every expression"
    if summary.physical is not None:
        return "Photos and their edits"
    return "One person, every emotion" if of_photos else "One face, each unit"


def _judge(summary: EvaluationSummary) -> str:
    """Who judges: of emotions, or where none were asked for, of units."""
    if summary.physical is not None:
        return summary.physical.found_by
    if summary.units is not None and not any(summary.emotions.values()):
        return summary.units.judge
    return summary.backend_name(summary.judge)


def _embedded(picture: Path) -> str:
    """A PNG file as a data URI."""
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode("ascii")


def lead_sentence(summary: EvaluationSummary) -> str:
    """The result in words: how often each set shows the emotion it was asked for, and to whom."""
    if summary.physical is not None:
        return physical_lead(summary.physical)
    shown = {}
    for name, scores in summary.scores.items():
        if "top1" in scores and scores["top1"].value is not None:
            shown[name] = f"{summary.metrics['top1'].number(scores['top1'].value)} %"
    units = units_lead(summary)
    if not shown:
        return units or "The photos carry no emotion labels, so nothing is said of emotions here."
    words = {
        "base": "{} of the base model’s pictures",
        "text": "{} of the fine-tuned model’s from the caption alone",
        "guided": "{} of its guided ones",
        "real": "{} of the real photos, which is the ceiling",
    }
    parts = [
        words.get(name, f"{{}} of {summary.titles[name]}").format(share)
        for name, share in shown.items()
    ]
    joined = ", ".join(f"in {part}" for part in parts[:-1])
    last = f"in {parts[-1]}"
    joined = f"{joined}, and {last}" if joined else last
    told = [f"The judge sees the asked emotion {joined}.", *witness_sentences(summary), units]
    return " ".join(one for one in told if one)


def paired_sentences(summary: EvaluationSummary) -> list[str]:
    """The paired test of each set against the baseline, in words."""
    against = summary.titles.get(summary.baseline, summary.baseline)
    return [
        f"{summary.titles[name].capitalize()} against {against}, picture by picture: {test.gained} "
        f"became right, {test.lost} became wrong ({_test(test.test)}, {p_text(test.p_value)})."
        for name, test in summary.tests.items()
    ]


def _test(name: str) -> str:
    return "McNemar’s exact test" if name == MCNEMAR else name
