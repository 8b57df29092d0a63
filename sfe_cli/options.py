"""Options that several commands share, each described once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Workspace = Annotated[
    Path,
    typer.Option(
        "--workspace", "-w", metavar="DIR", help="Folder with the sfe.yaml.", show_default="here"
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="SECTION.KEY=VALUE",
        help="Change a key of sfe.yaml for this call; may be repeated.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")]
Split = Annotated[
    str | None,
    typer.Option(
        "--split",
        metavar="NAME",
        help="Which split of the corpus.",
        show_default="the validation split",
    ),
]
Package = Annotated[
    str | None,
    typer.Option(
        "--package",
        metavar="NAME",
        help="Folder below packaged/, or a path.",
        show_default="the newest",
    ),
]
HERE = Path(".")
