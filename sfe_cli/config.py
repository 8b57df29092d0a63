"""`sfe config`: the effective settings and where each came from."""

from __future__ import annotations

from typing import Annotated

import typer

from sfe_cli import options, render
from sfe_cli.help import with_examples

app = typer.Typer(no_args_is_help=True, help="Settings: what is in force, and why.")

SHOW_HELP = with_examples(
    "Print every key with its value and where it came from: default, preset, sfe.yaml or --set.",
    "sfe config show",
    "sfe config show train sampling",
    "sfe config show --json",
)


@app.command(help=SHOW_HELP)
def show(
    sections: Annotated[
        list[str] | None, typer.Argument(metavar="[SECTION]...", show_default="all")
    ] = None,
    workspace: options.Workspace = options.HERE,
    json: options.Json = False,
    changes: options.Set = None,
) -> None:
    from sfe_core.config.init import inline_yaml
    from sfe_core.config.layers import flatten
    from sfe_core.config.loading import load_with_origins
    from sfe_core.config.problems import check_sections

    loaded = load_with_origins(workspace, changes or ())
    check_sections(sections or [])
    values = flatten(loaded.workspace.config.model_dump(mode="json"))
    shown = {
        key: value
        for key, value in values.items()
        if not sections or key.partition(".")[0] in sections
    }
    if json:
        render.as_json(
            {key: {"value": value, "from": loaded.origins[key]} for key, value in shown.items()}
        )
        return
    rows = [(key, inline_yaml(value), loaded.origins[key]) for key, value in shown.items()]
    render.grid(("key", "value", "from"), rows)


@app.callback()
def group() -> None:
    """Keeps `show` a sub-command although it is the only one."""
