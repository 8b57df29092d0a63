"""`sfe package-checkpoint`: a checkpoint to a pipeline folder."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

from sfe_cli import options, render
from sfe_cli.help import with_examples

HELP = with_examples(
    "Make a complete diffusers pipeline folder of a checkpoint, reload it and draw with it.\n\n"
    "Without options: the newest checkpoint of the newest run.",
    "sfe package-checkpoint",
    "sfe package-checkpoint --run first --step 500 --name first-500",
    "sfe package-checkpoint --weights raw  # not the moving average",
)


class Weights(str, Enum):
    """Which weights of a checkpoint."""

    ema = "ema"
    raw = "raw"


def package_checkpoint(
    workspace: options.Workspace = options.HERE,
    run: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which run.", show_default="the newest")
    ] = None,
    step: Annotated[
        int | None, typer.Option(min=0, help="Which checkpoint.", show_default="the newest")
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Folder below packaged/.", show_default="RUN-STEP"),
    ] = None,
    weights: Annotated[Weights, typer.Option(help="Moving average, or as trained.")] = Weights.ema,
    force: Annotated[bool, typer.Option("--force", help="Replace a package.")] = False,
    changes: options.Set = None,
) -> None:
    from sfe_cli.progress import RichReporter
    from sfe_core.config.loading import load_workspace

    # Settings first: a mistyped key need not wait for torch to be imported.
    found = load_workspace(workspace, changes or ())

    from sfe_core.packaging.package import package_checkpoint as package

    summary = package(
        found,
        run=run,
        step=step,
        name=name,
        weights=weights.value,
        force=force,
        reporter=RichReporter(),
    )
    render.facts(
        [
            ("package", summary.folder),
            ("from", f"run {summary.run}, step {summary.step}, {summary.weights} weights"),
            ("size", render.size(summary.size_bytes)),
            ("drawn with it", summary.pictures),
        ]
    )
    render.next_step("`sfe triptych`")


package_checkpoint.__doc__ = HELP
