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
    "[bold]stableface-sdxl[/bold] (Stable Diffusion XL, LoRA, on 40 GB), "
    "[bold]action-units[/bold] (units as intensities), "
    "[bold]action-units-text[/bold] (units as captions; -11gb: LoRA; -zero2: several GPUs), "
    "[bold]expressions[/bold] (expressions as text embeddings; -sdxl: Stable Diffusion XL), "
    "[bold]personal[/bold] (one person's album, LoRA; -11gb; -sdxl: Stable Diffusion XL), "
    "[bold]physical[/bold], [bold]physical-person[/bold] (photos from shading, normals, albedo), "
    "[bold]tiny-action-units[/bold], [bold]tiny-action-units-text[/bold], "
    "[bold]tiny-expressions[/bold], [bold]tiny-personal[/bold] and [bold]tiny-physical[/bold] "
    "(the same, offline).",
    "sfe init  # the tiny preset, here",
    "sfe init --preset stableface -w my-work",
    "sfe init --preset action-units-text-11gb -w my-units",
    "sfe init --preset personal -w my-album",
)


def init(
    workspace: options.Workspace = options.HERE,
    preset: Annotated[
        str,
        typer.Option("--preset", metavar="NAME", help="One of those above."),
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
