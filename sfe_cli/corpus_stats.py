"""`sfe corpus stats`: the corpus in numbers, as training will see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sfe_cli import options, render
from sfe_cli.help import with_examples
from sfe_core.wording import first_of

if TYPE_CHECKING:
    from sfe_core.corpus.inspection.stats import CorpusStats

_NAMED = 5

HELP = with_examples(
    "Count the faces by emotion, split and action unit, how often an epoch draws each by "
    "train.balance, balance_units and balance_subjects, how their numbers lie, and what the data "
    "section of sfe.yaml leaves out.",
    "sfe corpus stats",
    "sfe corpus stats --set train.balance=1",
    "sfe corpus stats --set train.balance_units=1 --set train.balance_subjects=1",
    "sfe corpus stats --set data.emotions=[happy,sad] --set 'data.ranges={yaw: [-30, 30]}'",
    "sfe corpus stats --json",
)


def stats(
    workspace: options.Workspace = options.HERE,
    split: Annotated[
        str, typer.Option("--split", metavar="NAME", help="The one that is learnt from.")
    ] = "train",
    json: options.Json = False,
    changes: options.Set = None,
) -> None:
    from dataclasses import asdict

    from sfe_core.config.loading import load_workspace

    found = load_workspace(workspace, changes or ())

    from sfe_core.corpus.inspection.stats import corpus_stats
    from sfe_core.corpus.reader import Corpus

    counted = corpus_stats(Corpus.open(found), found.config, split)
    if json:
        render.as_json(asdict(counted))
    else:
        show(counted, split)


stats.__doc__ = HELP


def show(counted: CorpusStats, split: str) -> None:
    """Tables of emotions, units and numbers, and the rest."""
    splits = list(counted.splits)
    render.grid(
        ["emotion", *splits, f"of {split} chosen", "drawn an epoch", "times each"],
        [
            (
                row.emotion,
                *(str(row.splits.get(name, 0)) for name in splits),
                str(row.chosen),
                str(row.drawn),
                f"{row.times:.2f}",
            )
            for row in counted.emotions
        ],
        right=[*splits, f"of {split} chosen", "drawn an epoch", "times each"],
    )
    if counted.units:
        render.grid(
            ["action unit", f"of {split} chosen", "drawn an epoch"],
            [(row.unit, str(row.chosen), str(row.drawn)) for row in counted.units],
            right=[f"of {split} chosen", "drawn an epoch"],
        )
    numbers = ["known", "mean", "deviation", "5 %", "median", "95 %"]
    render.grid(
        ["number", *numbers],
        [
            (row.name, str(row.known), row.mean, row.deviation, row.low, row.middle, row.high)
            for row in counted.numbers
        ],
        right=numbers,
    )
    render.facts(
        [
            ("photos", counted.statuses),
            ("left out by the data section", counted.left_out or None),
            (f"people of {split}", counted.identities or None),
            ("people known from", counted.people or None),
            ("faces of unknown people", counted.unknown_faces or None),
            ("copies of other faces", counted.copies or None),
            ("of these byte for byte", counted.exact_copies or None),
            *(
                ("copies labelled in two ways", text)
                for text in first_of(counted.contradictions, _NAMED)
            ),
            ("different captions", counted.captions),
            ("views of a face", counted.views),
            ("images an epoch", counted.epoch_images),
            ("epochs of the run", counted.epochs),
        ]
    )
