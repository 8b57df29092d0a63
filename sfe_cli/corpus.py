"""`sfe corpus`: data sets into a workspace, and a corpus out of it."""

from __future__ import annotations

import typer

from sfe_cli import corpus_check, corpus_export, corpus_import, corpus_report, corpus_stats

app = typer.Typer(
    no_args_is_help=True,
    help="Data sets: take in what you have, and hand on what was made of it.",
)
app.command("import", help=corpus_import.HELP)(corpus_import.import_data_set)
app.command("check", help=corpus_check.HELP)(corpus_check.check)
app.command("stats", help=corpus_stats.HELP)(corpus_stats.stats)
app.command("report", help=corpus_report.HELP)(corpus_report.report)
app.command("export", help=corpus_export.HELP)(corpus_export.export)
