"""`sfe ablate`: what each part of the recipe is worth."""

from __future__ import annotations

from typing import Annotated

import typer

from sfe_cli import options, render
from sfe_cli.help import with_examples

HELP = with_examples(
    "Train, package and measure the recipe as it is and with each part off: every loss term, "
    "guidance, balance.\n\n"
    "Two tables: the judge's Top-1, valence and arousal, Fréchet distance of each, and minus the "
    "full recipe, with 95 % intervals over people; with --seeds over training seeds, too, each "
    "paired with the full recipe of its seed. Can be stopped and called again.",
    "sfe ablate",
    "sfe ablate --steps 150 --only no-guidance --only no-balance",
    "sfe ablate --seeds 3",
    "sfe ablate --gpus 2 --split val300",
)


def ablate(
    workspace: options.Workspace = options.HERE,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="no-NAME",
            help="This variant, beside the full recipe; may be repeated.",
            show_default="all",
        ),
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", help="Repeat each variant under N training seeds, and pool them."
        ),
    ] = 1,
    steps: options.Steps = None,
    gpus: options.Gpus = None,
    cpu_processes: options.CpuProcesses = None,
    split: options.Split = None,
    json: options.Json = False,
    changes: options.Set = None,
) -> None:
    from sfe_cli.progress import RichReporter
    from sfe_core.config.loading import load_workspace

    # Settings first: a mistyped key need not wait for torch to be imported.
    found = load_workspace(workspace, changes or ())

    from sfe_core.evaluation.ablation import ablate as measure
    from sfe_core.training.options import TrainOptions

    chosen = TrainOptions(gpus=gpus, cpu_processes=cpu_processes, steps=steps)
    result = measure(found, chosen, split, only or (), RichReporter(), seeds)
    if json:
        render.as_json(result.table())
        return
    for table in filter(None, (result.table(), result.changes())):
        headers = list(table[0])
        render.grid(headers, [list(row.values()) for row in table], headers[2:])
    render.facts([*(("note", note) for note in result.notes), ("table", result.folder)])


ablate.__doc__ = HELP
