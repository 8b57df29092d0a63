"""`sfe doctor`: is this machine ready, and what to type next."""

from __future__ import annotations

import typer

from sfe_cli import options, render
from sfe_cli.help import with_examples

HELP = with_examples(
    "Check Python, torch, GPUs, memory, disk and the models of this workspace's preset.\n\n"
    "Ends with what to type next. Exit code 1 if something must be mended first.",
    "sfe doctor",
    "sfe doctor --json",
)


def doctor(
    workspace: options.Workspace = options.HERE,
    json: options.Json = False,
    changes: options.Set = None,
) -> None:
    from sfe_core.doctor import diagnose

    diagnosis = diagnose(workspace, changes or ())
    if json:
        render.as_json(
            {
                "ready": diagnosis.ready,
                "checks": [vars(check) for check in diagnosis.checks],
                "next": diagnosis.next_step,
            }
        )
    else:
        rows = [(c.status, c.name, c.found, c.remedy) for c in diagnosis.checks]
        render.grid(("", "what", "found", "what to do"), rows)
        render.next_step(diagnosis.next_step)
    if not diagnosis.ready:
        raise typer.Exit(1)


doctor.__doc__ = HELP
