"""Options that several commands share, each described once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

# What every generator of random numbers takes; the config's own seeds have the same range.
SEEDS: dict[str, Any] = {"min": 0, "max": 2**63 - 1}

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
Preset = Annotated[
    str | None,
    typer.Option(
        "--preset",
        metavar="original|fast",
        help="How pictures are drawn: sampling.preset of sfe.yaml.",
        show_default="as in sfe.yaml",
    ),
]
Gpus = Annotated[
    int | None,
    typer.Option("--gpus", min=1, help="GPUs, one process each.", show_default="one, if any"),
]
CpuProcesses = Annotated[
    int | None,
    typer.Option(
        "--cpu-processes", min=1, help="Processes on the CPU instead.", show_default=False
    ),
]
Steps = Annotated[
    int | None,
    typer.Option("--steps", min=1, help="Optimiser updates of a run.", show_default="train.steps"),
]
HERE = Path(".")


def seed(meaning: str) -> Any:
    """A seed that is else the workspace's."""
    return typer.Option(**SEEDS, help=meaning, show_default="sampling.seed")


def pictures_folder(usual: str) -> Any:
    """Where drawn pictures go."""
    return typer.Option(metavar="DIR", help="Folder for them.", show_default=usual)
