"""`sfe evaluate`: the numbers."""

from __future__ import annotations

from sfe_cli import options, render
from sfe_cli.help import with_examples

HELP = with_examples(
    "Measure base, fine-tuned (text, guided) and real photos of a split; write report.html.\n\n"
    "Pictures that are not drawn yet are drawn first. Every number has a 95 % interval.",
    "sfe evaluate",
    "sfe evaluate --split val300",
    "sfe evaluate --json > numbers.json",
)


def evaluate(
    workspace: options.Workspace = options.HERE,
    split: options.Split = None,
    package: options.Package = None,
    json: options.Json = False,
    changes: options.Set = None,
) -> None:
    from sfe_cli.packages import find_package
    from sfe_cli.progress import RichReporter
    from sfe_core.config.loading import load_workspace

    # Settings first: a mistyped key need not wait for torch to be imported.
    found = load_workspace(workspace, changes or ())

    from sfe_core.evaluation.evaluate import evaluate as measure

    summary = measure(found, split, find_package(found, package), RichReporter())
    if json:
        render.as_json(summary.model_dump(mode="json") | {"folder": str(summary.folder)})
        return
    show_scores(summary.table)
    for note in summary.notes:
        render.console().print(f"note: {note}", markup=False, highlight=False, style="dim")
    render.facts([("report", summary.report), ("folder", summary.folder)])


evaluate.__doc__ = HELP


def show_scores(table: list[dict[str, str]]) -> None:
    """The short table: metric, then one column per variant."""
    headers = list(table[0])
    render.grid(headers, [[row[name] for name in headers] for row in table], headers[1:])
