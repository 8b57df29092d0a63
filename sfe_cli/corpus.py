"""`sfe corpus`: data sets into a workspace, and a corpus out of it."""

from __future__ import annotations

import typer

from sfe_cli import corpus_import

app = typer.Typer(
    no_args_is_help=True,
    help="Data sets: take in what you have, and hand on what was made of it.",
)
app.command("import", help=corpus_import.HELP)(corpus_import.import_data_set)
