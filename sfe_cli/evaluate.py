"""`sfe evaluate`: the numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sfe_cli import options, render
from sfe_cli.help import with_examples

if TYPE_CHECKING:
    from sfe_core.config.workspace import Workspace
    from sfe_core.evaluation.summary import EvaluationSummary

HELP = with_examples(
    "Measure base, fine-tuned (text, guided) and real photos of a split; write report.html.\n\n"
    "Pictures that are not drawn yet are drawn first. Every number has a 95 % interval.",
    "sfe evaluate",
    "sfe evaluate --split val300",
    "sfe evaluate --json > numbers.json",
    "sfe evaluate --images base=their-base fine=their-model",
    "sfe evaluate --package step-2000 --name step-2000",
    "sfe evaluate --compare val300 step-2000",
    "sfe evaluate --protocol fineface",
    "sfe evaluate --protocol personal",
    "sfe evaluate --protocol physical",
)
Images = Annotated[
    list[str] | None,
    typer.Option(
        "--images",
        metavar="NAME=DIR",
        help="Measure these folders of pictures, named by key, instead of a packaged model's.",
        show_default=False,
    ),
]
MoreImages = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME=DIR]...", help="More for --images.")
]
Compare = Annotated[
    tuple[str, str] | None,
    typer.Option(
        "--compare",
        metavar="A B",
        help="Hold two evaluations (names below evaluation/, or folders) against each other.",
        show_default=False,
    ),
]
Protocol = Annotated[
    str | None,
    typer.Option(
        "--protocol",
        metavar="NAME",
        help="Measure action units as published: fineface (prompts, each unit at five levels, "
        "combinations) or magicface (changes of labelled photos); or one person with every "
        "expression: personal; or edits of photos by 3D codes, fitted again: physical. Instead of "
        "a split's captions.",
        show_default=False,
    ),
]
Name = Annotated[
    str | None,
    typer.Option(
        "--name",
        metavar="NAME",
        help="Folder below evaluation/ to write to.",
        show_default="the split's or protocol's name",
    ),
]


def evaluate(
    more: MoreImages = None,
    workspace: options.Workspace = options.HERE,
    split: options.Split = None,
    package: options.Package = None,
    images: Images = None,
    compare: Compare = None,
    protocol: Protocol = None,
    name: Name = None,
    preset: options.Preset = None,
    gpus: options.Gpus = None,
    cpu_processes: options.CpuProcesses = None,
    json: options.Json = False,
    changes: options.Set = None,
) -> None:
    from sfe_core.config.loading import load_workspace

    given = given_images(images or [], more or [])
    # Settings first: a mistyped key need not wait for torch to be imported.
    chosen = [f"sampling.preset={preset}"] if preset else []
    found = load_workspace(workspace, [*chosen, *(changes or ())])
    if compare is not None:
        show_comparison(found, *compare, json)
        return

    from sfe_cli.packages import find_package
    from sfe_cli.progress import RichReporter
    from sfe_core.evaluation.evaluate import evaluate as measure
    from sfe_core.evaluation.personal_protocol import PERSONAL, evaluate_personal
    from sfe_core.evaluation.physical_protocol import PHYSICAL, evaluate_physical
    from sfe_core.evaluation.protocol import evaluate_protocol
    from sfe_core.processes.placement import place

    # Which package is a rig, and that there is a base to edit with, the protocol knows.
    unsaid = given or (protocol == PHYSICAL and package is None)
    folder = None if unsaid else find_package(found, package)
    placement = place(gpus, cpu_processes)
    asked = (split, folder, RichReporter(), given, name, placement)
    if protocol is None:
        summary = measure(found, *asked)
    elif protocol == PERSONAL:
        summary = evaluate_personal(found, *asked)
    elif protocol == PHYSICAL:
        summary = evaluate_physical(found, *asked[:-1])
    else:
        summary = evaluate_protocol(found, protocol, *asked)
    if json:
        render.as_json(summary.model_dump(mode="json") | {"folder": str(summary.folder)})
        return
    show_scores(summary.table)
    show_units(summary)
    show_told(summary)
    for note in summary.notes:
        render.console().print(f"note: {note}", markup=False, highlight=False, style="dim")
    over = None if summary.resampling is None else summary.resampling.told
    facts = [("intervals", over), ("report", summary.report), ("folder", summary.folder)]
    render.facts(facts)


evaluate.__doc__ = HELP


def given_images(images: list[str], more: list[str]) -> dict[str, Path]:
    """NAME=DIR of --images, and of the words after it, as name → folder.

    Raises:
        UserError: a word is not NAME=DIR, a name comes twice, or there is no --images before it.
    """
    from sfe_core.errors import UserError

    if more and not images:
        raise UserError(more[0], "is not an option", "give folders as --images NAME=DIR")
    found: dict[str, Path] = {}
    for word in [*images, *more]:
        name, equals, folder = word.partition("=")
        if not (name and equals and folder):
            raise UserError(f"--images {word}", "is not NAME=DIR", "such as base=some/folder")
        if name in found:
            raise UserError(f"--images {word}", f"{name} comes twice", "give each name once")
        found[name] = Path(folder).expanduser()
    return found


def show_comparison(workspace: Workspace, first: str, second: str, json: bool) -> None:
    """Both evaluations' numbers and the change between them."""
    from sfe_core.evaluation.compare import compare

    found = compare(workspace, first, second)
    if json:
        render.as_json(found.model_dump(mode="json"))
        return
    rows = found.table()
    headers = list(rows[0])
    render.grid(headers, [[row[header] for header in headers] for row in rows], headers[2:])
    for setting, one, other in found.drawn_unlike:
        line = f"note: drawn with {setting} {one} in {found.first}, {other} in {found.second}"
        render.console().print(line, markup=False, highlight=False, style="dim")


def show_scores(table: list[dict[str, str]]) -> None:
    """The short table: metric, then one column per set; what no set has a score of is left out."""
    headers = list(table[0])
    rows = [row for row in table if any(row[name] != "n/a" for name in headers[1:])] or table
    render.grid(headers, [[row[name] for name in headers] for row in rows], headers[1:])


def show_units(summary: EvaluationSummary) -> None:
    """Of the pictures that count, a line for each action unit; nothing where none was measured."""
    from sfe_core.evaluation.reporting.report_units import unit_tables

    tables = unit_tables(summary)
    if not tables:
        return
    shown = tables[0]
    kinds = {
        kind: title
        for kind, title in shown.columns.items()
        if kind in ("pearson", "pearson_left", "pearson_right", "f1")
    }
    headers = ["unit", shown.title, *kinds.values(), "photos' Pearson", "moves others"]
    rows = [
        [row.code, row.name, *(row.cells[kind].value for kind in kinds), row.ceiling, row.unasked]
        for row in shown.rows
    ]
    render.grid(headers, rows, headers[2:])


def show_told(summary: EvaluationSummary) -> None:
    """The tables of a person, or of edits; nothing of another evaluation."""
    from sfe_core.evaluation.reporting.report_personal import personal_tables
    from sfe_core.evaluation.reporting.report_physical import physical_tables

    told = personal_tables(summary) or physical_tables(summary)
    for table in () if told is None else told.tables:
        headers = [table.heading.lower(), *table.columns.values()]
        cells = [[row.heading, *(row.cells[name] for name in table.columns)] for row in table.rows]
        render.grid(headers, cells, headers[1:])
