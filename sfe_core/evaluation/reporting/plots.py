"""Which plots an evaluation has: each is drawn once and kept as PNG and SVG."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from sfe_core.evaluation.reporting import (
    plot_emotions,
    plot_personal,
    plot_physical,
    plot_units,
)
from sfe_core.evaluation.reporting.plot_style import Frame, legend_room, render, set_colours
from sfe_core.evaluation.summary import (
    REAL,
    EvaluationSummary,
    PersonalResult,
    RecogniserResult,
    UnitsResult,
)
from sfe_core.files import atomic_path


@dataclass(frozen=True)
class Plot:
    """One plot: its file name, what it is called, and its SVG in the light theme."""

    name: str
    title: str
    svg: str


@dataclass(frozen=True)
class PlotGroup:
    """Plots that are read together, and what they show in words."""

    title: str
    description: str
    plots: list[Plot]


@dataclass(frozen=True)
class _Planned:
    name: str
    title: str
    frame: Frame
    draw: Callable[..., None]


_Group = tuple[str, str, list[_Planned]]


def draw_plots(summary: EvaluationSummary, table: pd.DataFrame, folder: Path) -> list[PlotGroup]:
    """Draw every plot whose numbers exist, to `folder`/<name>.png and .svg.

    Args:
        summary: the numbers.
        table: per-image rows as `outputs.per_image_table` makes them.
        folder: made if it is missing; plots of an earlier run that are no more are removed.
    """
    groups = []
    for title, description, planned in _plan(summary, table):
        plots = [Plot(one.name, one.title, _draw(one, folder)) for one in planned]
        if plots:
            groups.append(PlotGroup(title, description, plots))
    _remove_others(folder, {plot.name for group in groups for plot in group.plots})
    return groups


def _draw(planned: _Planned, folder: Path) -> str:
    png, svg = render(planned.draw, planned.frame, planned.name)
    with atomic_path(folder / f"{planned.name}.png") as target:
        target.write_bytes(png)
    with atomic_path(folder / f"{planned.name}.svg") as target:
        target.write_text(svg, encoding="utf-8")
    return svg


def _remove_others(folder: Path, kept: set[str]) -> None:
    for path in folder.glob("*"):
        if path.suffix in (".png", ".svg") and path.stem not in kept:
            path.unlink()


def _plan(summary: EvaluationSummary, table: pd.DataFrame) -> Iterator[_Group]:
    if summary.personal is not None:
        yield _personal(summary.personal)
    if summary.physical is not None:
        yield _physical(table)
    if any(summary.emotions.values()):
        for instrument, found in summary.recognised.items():
            yield from _of_recogniser(summary, instrument, found)
    yield _affect(summary, table)
    if summary.units is not None:
        yield _units(summary, summary.units)


def _of_recogniser(
    summary: EvaluationSummary, instrument: str, found: RecogniserResult
) -> Iterator[_Group]:
    ending = summary.metric_suffix(instrument)
    who = summary.backend_name(instrument) if ending else "the judge"
    named = f" ({who})" if ending else ""
    colours = set_colours(list(summary.scores))
    look = {"titles": summary.titles, "colours": colours}
    metrics = (summary.metrics.get(f"top{k}{ending}") for k in (1, 2, 3))
    chance = [metric.chance for metric in metrics if metric and metric.chance is not None]
    yield (
        f"Emotions that {who} sees",
        f"Share of pictures whose asked emotion is among the first one, two or three that {who} "
        "sees, and the share by emotion. Whiskers are 95 % intervals. The real photos show how "
        f"far it can be trusted, so they are the ceiling.{_guessing(chance)}",
        _shares(summary, ending, chance, look),
    )
    if not ending:
        yield _radars(found, who, look)
    unknown = f" It does not know {' and '.join(found.unreadable)}." if found.unreadable else ""
    yield (
        f"What was asked, what {who} sees",
        f"Rows: the emotion asked for, with its pictures. Columns: what {who} sees first. Shares "
        f"of a row, in percent.{unknown}",
        [
            _Planned(
                f"confusion_{name}{ending}",
                f"Confusions{named}: {title}",
                Frame(3.6, left=1.0, top=0.35, bottom=0.7),
                partial(
                    plot_emotions.draw_confusion,
                    matrix=found.confusion[name],
                    title=title,
                    rows="asked",
                    columns="seen",
                ),
            )
            for name, title in summary.titles.items()
            # Of a recogniser beside the judge it is of interest how far it can be trusted.
            if name in found.confusion and (not ending or name == REAL)
        ],
    )
    yield (
        f"Reliability of {who}",
        f"How often {who} is right against how sure it is; one that knows its limits lies on the "
        "dotted line. ECE: expected calibration error over ten bins, which few pictures raise. "
        "On drawn pictures, wrong also means that the model drew another emotion.",
        _reliability(summary, found, ending, colours),
    )


def _guessing(chance: Sequence[float]) -> str:
    if len(chance) < 3:
        return ""
    first, second, third = (f"{100 * value:.3g}" for value in chance)
    return f" Dotted: guessing, {first}, {second} and {third} %."


def _shares(
    summary: EvaluationSummary, ending: str, chance: Sequence[float], look: dict
) -> list[_Planned]:
    scores, planned = summary.scores, []
    top = legend_room(summary.titles.values())
    frame = Frame(3.7 + top, top=top, bottom=0.3)
    wide = Frame(3.7 + top, left=0.75, top=top, bottom=0.45)
    if all(f"top3{ending}" in found for found in scores.values()):
        draw = partial(plot_emotions.draw_topk, scores=scores, suffix=ending, chance=chance, **look)
        planned.append(_Planned(f"topk{ending}", "Emotion Top-1, 2, 3", frame, draw))
    if all(f"recall_happy{ending}" in found for found in scores.values()):
        draw = partial(
            plot_emotions.draw_recall,
            scores=scores,
            emotions=summary.emotions,
            suffix=ending,
            **look,
        )
        planned.append(_Planned(f"recall{ending}", "Recall of each emotion", wide, draw))
    return planned


def _radars(found: RecogniserResult, who: str, look: dict) -> _Group:
    planned = []
    top = legend_room(look["titles"].values()) + 0.4  # the uppermost emotion's name
    drawn = {name: matrix for name, matrix in found.as_photo.items() if name != REAL}
    for name, title, matrices in (
        ("radar", "Seen as asked", found.confusion),
        ("radar_photos", "Seen as in the photo", drawn),
    ):
        if any(sum(map(sum, matrix)) for matrix in matrices.values()):
            draw = partial(plot_emotions.draw_radar, matrices=matrices, **look)
            frame = Frame(2.7 + top, left=0.7, right=0.7, top=top, bottom=0.4)
            planned.append(_Planned(name, title, frame, draw))
    return (
        f"Against the labels, and against what {who} sees in the photos",
        f"First: share of each asked emotion that {who} sees first. Second: share of the pictures "
        "in which it sees what it sees in the photo of the same key, by what that is.",
        planned,
    )


def _reliability(
    summary: EvaluationSummary, found: RecogniserResult, ending: str, colours: dict[str, str]
) -> list[_Planned]:
    # Of a recogniser that is not the judge, only how far it can be trusted is of interest.
    wanted = [REAL] if ending else list(summary.titles)
    known = [name for name in wanted if name in found.reliability]
    return [
        _Planned(
            f"reliability_{name}{ending}",
            f"Reliability on {summary.titles[name]}",
            Frame(3.6, top=0.35, bottom=0.45),
            partial(
                plot_emotions.draw_reliability,
                found=found.reliability[name],
                title=summary.titles[name],
                colour=colours[name],
            ),
        )
        for name in sorted(known, key=lambda name: summary.set_info(name).role != "real")
        if found.reliability[name].n
    ]


def _affect(summary: EvaluationSummary, table: pd.DataFrame) -> _Group:
    colours, planned = set_colours(list(summary.scores)), []
    frame = Frame(4.2, left=0.6, top=0.3, bottom=0.95)
    for name, title in summary.titles.items():
        prefix = summary.set_info(name).prefix
        if f"{prefix}_valence" not in table or table[f"{prefix}_valence"].isna().all():
            continue
        draw = partial(
            plot_emotions.draw_affect, table=table, prefix=prefix, title=title, colour=colours[name]
        )
        planned.append(_Planned(f"affect_{name}", f"Valence and arousal: {title}", frame, draw))
    return (
        "Valence and arousal, asked and read",
        "Dots: the judge’s reading of each picture. Rings: the mean label of each emotion, joined "
        "to the mean of what was read.",
        planned,
    )


def _personal(found: PersonalResult) -> _Group:
    frame = Frame(3.4, left=0.55, top=0.3, bottom=0.5)
    return (
        "Identity and expression, over strength",
        "First: what is gained in expression for what is lost of the person; further up and to the "
        "right is better, a point is a strength, 0 the face at rest. Dashed: photos of the person "
        "and other people; left of the dotted line, midway, it is the person no more. Second: the "
        "judge’s probability of what was asked, which follows its strength where it is straight.",
        [
            _Planned(
                "identity_expression",
                "Identity and expression",
                frame,
                partial(plot_personal.draw_identity_expression, found=found),
            ),
            _Planned(
                "strength",
                "Probability and identity over strength",
                frame,
                partial(plot_personal.draw_strength, found=found),
            ),
        ],
    )


def _physical(table: pd.DataFrame) -> _Group:
    frame = Frame(3.4, left=0.55, top=0.3, bottom=0.5)
    return (
        "Edits, asked and found",
        "How far each picture goes along the change that was asked of it, as the head that was "
        "fitted again has it. On the dashed line: as far as asked; at 0: not at all. Filled: the "
        "part alone; rings: expression, pose and light at once.",
        [
            _Planned(
                f"asked_found_{part}",
                f"{part.capitalize()}, asked and found",
                frame,
                partial(plot_physical.draw_asked_found, table=table, part=part),
            )
            for part in ("expression", "pose", "light")
            if table[f"{part}_found"].notna().any()
        ],
    )


def _units(summary: EvaluationSummary, found: UnitsResult) -> _Group:
    colours, titles = set_colours(list(summary.scores)), summary.titles
    sets = {name: one for name, one in found.sets.items() if name in titles}
    top = legend_room([titles[name] for name in sets]) + 0.15
    rows = -(-len(found.units) // plot_units.COLUMNS)
    curves = _Planned(
        "unit_curves",
        "Action units, asked and read",
        Frame(top + 0.4 + rows * plot_units.PANEL_IN, left=0.35, top=top, bottom=0.4),
        partial(
            plot_units.draw_unit_curves,
            sets=sets,
            units=found.units,
            titles=titles,
            colours=colours,
        ),
    )
    leaks = [
        _Planned(
            f"unit_leakage_{name}",
            f"Leakage: {titles[name]}",
            Frame(3.7, left=0.55, top=0.3, bottom=0.45),
            partial(
                plot_units.draw_leakage,
                found=one,
                units=found.units,
                title=titles[name],
                rows="asked",
                columns="read",
            ),
        )
        for name, one in sets.items()
        if any(value is not None for row in one.leakage for value in row)
    ]
    return (
        "Action units, asked and read",
        "First: the mean reading at each intensity asked for, with its 95 % interval; what follows "
        "exactly lies on the dotted line. Then leakage: what is read of each unit (columns) per "
        "intensity of the asked one (rows), all asked units taken together.",
        [curves, *leaks],
    )
