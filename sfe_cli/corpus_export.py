"""`sfe corpus export`: the corpus as WebDataset shards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sfe_cli import options, render
from sfe_cli.help import with_examples
from sfe_core.wording import bytes_told

if TYPE_CHECKING:
    from sfe_core.corpus.export import ExportSummary

HELP = with_examples(
    "Write the corpus as WebDataset tar shards, for training from object storage.\n\n"
    "The same corpus gives the same bytes; a call that was cut short goes on. Upload the folder "
    "as it is; a workspace whose sfe.yaml names it reads the faces from there, one request each.",
    "sfe corpus export",
    "sfe corpus export --to /mnt/faces --split train --samples-per-shard 2000",
    "sfe train --set corpus.shards=exported",
    "sfe train --set corpus.shards=s3://bucket/faces  # pip install 'sfe[cloud]'",
)


def export(
    workspace: options.Workspace = options.HERE,
    to: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder to write to.", show_default="exported/"),
    ] = None,
    split: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this split; repeatable.", show_default="all"),
    ] = None,
    maps: Annotated[
        list[str] | None,
        typer.Option(
            "--map", metavar="NAME", help="Only this map; repeatable.", show_default="all"
        ),
    ] = None,
    samples_per_shard: Annotated[int, typer.Option(help="Most faces in one tar.")] = 1000,
    changes: options.Set = None,
) -> None:
    from sfe_cli.progress import RichReporter
    from sfe_core.config.loading import load_workspace

    found = load_workspace(workspace, changes or ())

    from sfe_core.corpus.export import export_corpus
    from sfe_core.corpus.layout import MAP_FOLDERS
    from sfe_core.corpus.reader import Corpus

    summary = export_corpus(
        Corpus.open(found),
        to or found.exported,
        tuple(split or ()),
        tuple(maps or MAP_FOLDERS),
        samples_per_shard,
        RichReporter(),
    )
    show_summary(summary)
    # A folder in sfe.yaml counts from the workspace.
    here, root = summary.folder.resolve(), found.root.resolve()
    named = here.relative_to(root) if here.is_relative_to(root) else here
    render.next_step(f"`sfe train --set corpus.shards={named}`")


export.__doc__ = HELP


def show_summary(summary: ExportSummary) -> None:
    """What the export holds."""
    render.facts(
        [
            ("folder", summary.folder),
            ("faces", summary.samples),
            ("shards", f"{summary.shards}, {summary.written} written now"),
            ("shards of before, removed", summary.removed or None),
            ("size", bytes_told(summary.size_bytes)),
        ]
    )
