"""`sfe corpus report`: a page to look at what became of the photos."""

from __future__ import annotations

from sfe_cli import options, render
from sfe_cli.help import with_examples

HELP = with_examples(
    "Write corpus/report.html anew: contact sheets by status and by emotion, distributions, the "
    "faces at the edge of every measure.\n\n"
    "[bold]sfe preprocess[/bold] writes it at its end.",
    "sfe corpus report",
)


def report(workspace: options.Workspace = options.HERE, changes: options.Set = None) -> None:
    from sfe_core.config.loading import load_workspace

    found = load_workspace(workspace, changes or ())

    from sfe_core.corpus.inspection.report import write_report

    render.facts([("report", write_report(found))])


report.__doc__ = HELP
