"""`sfe corpus check`: is every face fit to be learnt from?"""

from __future__ import annotations

from typing import Annotated

import typer

from sfe_cli import options, render
from sfe_cli.help import with_examples

HELP = with_examples(
    "List every face whose crop or maps are missing, changed, or beyond the limits of sfe.yaml's "
    "quality section, or whose buffers (preprocess.save_buffers) show no head, one beside the "
    "face, or colours and light that no face has; training refuses a corpus with any. Copies with "
    "two emotions are only named."
    "\n\n"
    "Exit code 1 if there are some.",
    "sfe corpus check",
    "sfe corpus check --thorough  # read, hash and measure every picture",
    "sfe corpus check --set quality.mesh_coverage=[0.2,0.8]  # what stricter limits would do",
)


def check(
    workspace: options.Workspace = options.HERE,
    split: Annotated[
        str | None,
        typer.Option("--split", metavar="NAME", help="Only this split.", show_default="all"),
    ] = None,
    thorough: Annotated[
        bool, typer.Option("--thorough", help="Read every picture, however old.")
    ] = False,
    json: options.Json = False,
    changes: options.Set = None,
) -> None:
    from dataclasses import asdict

    from sfe_cli.progress import RichReporter
    from sfe_core.config.loading import load_workspace

    config = (found := load_workspace(workspace, changes or ())).config

    from sfe_core.corpus.inspection.buffer_sets import wanted_sets
    from sfe_core.corpus.inspection.crop_counts import CropCounts
    from sfe_core.corpus.inspection.gate import find_faults
    from sfe_core.corpus.people.duplicates import Duplicates
    from sfe_core.corpus.reader import Corpus

    corpus = Corpus.open(found)
    rows = corpus.split(split) if split else corpus.rows
    maps = config.guidance.maps
    buffers = wanted_sets(config.preprocess)
    faults = find_faults(corpus, rows, maps, config.quality, thorough, RichReporter(), buffers)
    if json:
        render.as_json([asdict(fault) for fault in faults])
    elif faults:
        render.grid(["face", "problem"], [(fault.key, fault.problem) for fault in faults])
    if not json:
        bad = len({fault.key for fault in faults})
        render.facts([("faces", len(rows)), ("fit to learn from", len(rows) - bad), ("not", bad)])
        told = CropCounts.of(rows, config.preprocess).told()
        emotions = dict(zip(rows["key"], rows["emotion"], strict=True))
        contradictions = Duplicates.of_table(rows).contradictions(emotions)
        render.facts(
            [
                *(("crops", sentence) for sentence in told),
                *(("copies labelled in two ways", text) for text in contradictions),
            ]
        )
    if faults:
        raise typer.Exit(1)


check.__doc__ = HELP
