"""`sfe init`: a fresh workspace."""

from __future__ import annotations

from typing import Annotated

import typer

from sfe_cli import options, render
from sfe_cli.help import with_examples

HELP = with_examples(
    "Write a commented sfe.yaml and make the photos folder.\n\n"
    "Presets: [bold]tiny[/bold] (everything offline, minutes on two CPU cores), "
    "[bold]stableface[/bold] (the published recipe, needs GPUs and fetched models), "
    "[bold]stableface-24gb[/bold] (the same on one 24 GB card), "
    "[bold]stableface-11gb[/bold] (LoRA, on 11 GB), "
    "[bold]stableface-sdxl[/bold] (Stable Diffusion XL, LoRA, on 40 GB).",
    "sfe init  # the tiny preset, here",
    "sfe init --preset stableface -w my-work",
)


def init(
    workspace: options.Workspace = options.HERE,
    preset: Annotated[
        str,
        typer.Option("--preset", metavar="NAME", help="tiny, stableface, -24gb, -11gb, -sdxl."),
    ] = "tiny",
    force: Annotated[bool, typer.Option("--force", help="Replace a sfe.yaml.")] = False,
) -> None:
    from sfe_core.config.init import init_workspace

    file = init_workspace(workspace, preset, force)
    render.facts([("written", file), ("preset", preset), ("photos go to", file.parent / "photos")])
    there = "" if workspace == options.HERE else f" -w {render.nearby(workspace)}"
    render.next_step(
        f"put photos there (or `sfe synthesize --count 400{there}`), then `sfe preprocess{there}`"
    )


init.__doc__ = HELP
