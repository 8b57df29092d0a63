"""`sfe demo`: the whole road in a fresh folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sfe_cli import options, render
from sfe_cli.help import with_examples

HELP = with_examples(
    "See it all in a few minutes: synthetic photographs, then the five commands, then a report.\n\n"
    "Offline, on the CPU or one GPU. The folder is an ordinary workspace afterwards.",
    "sfe demo",
    "sfe demo --folder /tmp/faces --seed 7",
    "sfe demo --recipe action-units",
    "sfe demo --recipe personal",
    "sfe demo --recipe physical",
)


def demo(
    folder: Annotated[
        Path, typer.Option("--folder", metavar="DIR", help="A new or empty folder.")
    ] = Path("sfe-demo"),
    seed: Annotated[
        int, typer.Option(**options.SEEDS, help="Of the photographs and of the training.")
    ] = 0,
    recipe: Annotated[
        str,
        typer.Option(
            help="What is learnt: stableface (emotions), action-units (muscles), personal (one "
            "person, from an album), or physical (edits of a person's photos)."
        ),
    ] = "stableface",
) -> None:
    from sfe_cli.evaluate import show_scores, show_told, show_units
    from sfe_cli.progress import RichReporter, duration
    from sfe_core.demo import run_demo

    summary = run_demo(folder, seed, RichReporter(), recipe)
    evaluation = summary.evaluation
    show_scores(evaluation.table)
    show_units(evaluation)
    show_told(evaluation)
    total = duration(sum(summary.seconds.values()))
    steps = ", ".join(f"{name} {duration(time)}" for name, time in summary.seconds.items())
    render.facts(
        [
            ("time", f"{total} ({steps})"),
            ("triptychs", summary.gallery),
            ("to look at first", summary.story),
            ("report", evaluation.report),
        ]
    )
    render.next_step(f"open {render.nearby(evaluation.report)}")


demo.__doc__ = HELP
