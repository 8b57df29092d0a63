"""`sfe preprocess`: photos to corpus."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import typer

from sfe_cli import options, render
from sfe_cli.help import with_examples

HELP = with_examples(
    "Turn photos/ into corpus/: crops, 68 landmarks, fitted head, depth, captions, splits.\n\n"
    "Photos that cannot be used become rows with a reason. A second call does only what is new.",
    "sfe preprocess",
    "sfe preprocess --dry-run  # what would be done",
    "sfe preprocess --set preprocess.crop_size=256",
)


def preprocess(
    workspace: options.Workspace = options.HERE,
    dry_run: options.DryRun = False,
    workers: Annotated[
        int | None,
        typer.Option(min=0, help="Processes; 0 = one per core.", show_default="as in sfe.yaml"),
    ] = None,
    changes: options.Set = None,
) -> None:
    from sfe_cli.progress import RichReporter
    from sfe_core.config.loading import load_workspace
    from sfe_core.corpus import preprocess as core

    extra = [f"preprocess.workers={workers}"] if workers is not None else []
    found = load_workspace(workspace, [*(changes or ()), *extra])
    if dry_run:
        render.facts(fields(core.plan_preprocess(found)))
        return
    render.facts(fields(core.preprocess(found, RichReporter())))
    render.next_step("look at corpus/preview.png, then `sfe train`")


preprocess.__doc__ = HELP


def fields(record: Any) -> list[tuple[str, Any]]:
    """Name and value of each field of a dataclass, names in words."""
    return [
        (field.name.replace("_", " "), getattr(record, field.name))
        for field in dataclasses.fields(record)
    ]
