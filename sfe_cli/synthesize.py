"""`sfe synthesize`: portraits with exact labels."""

from __future__ import annotations

from typing import Annotated

import typer

from sfe_cli import options, render
from sfe_cli.help import with_examples

HELP = with_examples(
    "Write synthetic portraits with exact labels to the photos folder.\n\n"
    "They stand in for licensed photographs: same folder, same commands afterwards.",
    "sfe synthesize --count 400",
    "sfe synthesize --count 800 --seed 7 --size 320 --per-identity 4",
    "sfe synthesize --count 80 --identities 5000:5100  # only these people",
)


def synthesize(
    workspace: options.Workspace = options.HERE,
    count: Annotated[int, typer.Option(min=1, help="How many portraits.")] = 400,
    seed: Annotated[int, typer.Option(**options.SEEDS, help="Same seed, same bytes.")] = 0,
    size: Annotated[int, typer.Option(min=64, max=2048, help="Side in pixels.")] = 256,
    balanced: Annotated[
        bool, typer.Option("--balanced/--no-balanced", help="As many of each emotion.")
    ] = True,
    per_identity: Annotated[
        int, typer.Option("--per-identity", min=1, help="Portraits of each person.")
    ] = 8,
    identities: Annotated[
        str, typer.Option(metavar="A:B", help="Draw people A to B-1 only.")
    ] = "0:4096",
    random_units: Annotated[
        bool, typer.Option("--random-units", help="Action units at random in place of emotions.")
    ] = False,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0 = one per core.")] = 0,
    changes: options.Set = None,
) -> None:
    from sfe_cli.progress import RichReporter
    from sfe_core.config.loading import load_workspace
    from sfe_core.errors import UserError

    found = load_workspace(workspace, changes or ())
    if found.photos != found.root / "photos":
        raise UserError(
            "photos.folder", f"found {found.config.photos.folder!r}", "synthesize needs photos"
        )
    from joblib import cpu_count

    from sfe_core.synthesis.photos import synthesize as run

    written = run(
        found.root,
        count=count,
        seed=seed,
        size_px=size,
        balanced=balanced,
        expressions_per_identity=per_identity,
        identity_range=parse_range(identities),
        workers=workers or cpu_count(),
        reporter=RichReporter(),
        random_units=random_units,
    )
    render.facts([("photos", found.photos), ("portraits", written), ("seed", seed)])
    render.next_step("`sfe preprocess`")


synthesize.__doc__ = HELP


def parse_range(text: str) -> tuple[int, int]:
    """`A:B` as (A, B), B not included.

    Raises:
        UserError: not two whole numbers with 0 <= A < B.
    """
    from sfe_core.errors import UserError

    first, _, last = text.partition(":")
    if first.isdecimal() and last.isdecimal() and int(first) < int(last):
        return int(first), int(last)
    raise UserError("--identities", f"found {text!r}", "give A:B with 0 <= A < B, e.g. 0:100")
