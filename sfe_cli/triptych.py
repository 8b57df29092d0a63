"""`sfe triptych`: original, base and fine-tuned side by side."""

from __future__ import annotations

from sfe_cli import options, render
from sfe_cli.help import with_examples

HELP = with_examples(
    "Draw original, base and fine-tuned side by side for every item of a split.\n\n"
    "Pictures drawn before are reused; an index.html shows them all.",
    "sfe triptych",
    "sfe triptych --split val300 --package first-500",
)


def triptych(
    workspace: options.Workspace = options.HERE,
    split: options.Split = None,
    package: options.Package = None,
    changes: options.Set = None,
) -> None:
    from sfe_cli.packages import find_package
    from sfe_cli.progress import RichReporter
    from sfe_core.config.loading import load_workspace

    # Settings first: a mistyped key need not wait for torch to be imported.
    found = load_workspace(workspace, changes or ())

    from sfe_core.sampling.triptych import make_triptychs

    summary = make_triptychs(found, split, find_package(found, package), RichReporter())
    render.facts(
        [
            ("gallery", summary.gallery),
            ("triptychs", f"{summary.total}, {summary.composed} of them new"),
            ("pictures drawn", f"{summary.base_drawn} base, {summary.fine_tuned_drawn} fine-tuned"),
            ("originals missing", summary.missing_originals or None),
        ]
    )
    render.next_step("`sfe evaluate`")


triptych.__doc__ = HELP
