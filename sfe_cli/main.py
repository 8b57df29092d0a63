"""The `sfe` command: its groups, the global options, and the entry point."""

from __future__ import annotations

from typing import Annotated

import typer

from sfe_cli import (
    ablate,
    assets,
    config,
    corpus,
    demo,
    doctor,
    edit,
    evaluate,
    generate,
    init,
    package_checkpoint,
    preprocess,
    reconstruct,
    synthesize,
    train,
    triptych,
)
from sfe_cli.environment import prepare
from sfe_cli.errors import DEBUG_FLAG, SfeGroup
from sfe_cli.plain_letters import use_plain_letters

START, ROAD, REST = "Get started", "The five commands", "Data, models and settings"

app = typer.Typer(
    cls=SfeGroup,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="From a folder of face photographs to a diffusion model that draws the emotion asked for, "
    "and the numbers that prove it.",
    epilog="First time here? Type [bold]sfe demo[/bold]. "
    "With your own photos: [bold]sfe init[/bold], then the five commands, in order.",
)
app.command("demo", rich_help_panel=START)(demo.demo)
app.command("init", rich_help_panel=START)(init.init)
app.command("doctor", rich_help_panel=START)(doctor.doctor)
app.command("preprocess", rich_help_panel=ROAD)(preprocess.preprocess)
app.command("train", rich_help_panel=ROAD)(train.train)
app.command("package-checkpoint", rich_help_panel=ROAD)(package_checkpoint.package_checkpoint)
app.command("triptych", rich_help_panel=ROAD)(triptych.triptych)
app.command("evaluate", rich_help_panel=ROAD)(evaluate.evaluate)
app.command("generate", rich_help_panel=REST)(generate.generate)
app.command("reconstruct", rich_help_panel=REST)(reconstruct.reconstruct)
app.command("edit", rich_help_panel=REST)(edit.edit)
app.command("ablate", rich_help_panel=REST)(ablate.ablate)
app.command("synthesize", rich_help_panel=REST)(synthesize.synthesize)
app.add_typer(corpus.app, name="corpus", rich_help_panel=REST)
app.add_typer(assets.app, name="assets", rich_help_panel=REST)
app.add_typer(config.app, name="config", rich_help_panel=REST)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("sfe"))
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    debug: Annotated[
        bool, typer.Option(DEBUG_FLAG, help="Show tracebacks; works after any command too.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Options before the command."""
    del version
    prepare(debug or context.meta["sfe.debug"])


def run() -> None:
    """The installed entry point."""
    # Photo names may be in any script; a C locale must not end a run over one of them.
    use_plain_letters()
    app()


if __name__ == "__main__":
    run()
