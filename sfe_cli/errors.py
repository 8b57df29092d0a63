"""The one place where exceptions become a line on stderr and an exit code."""

from __future__ import annotations

import sys
from typing import Any

import typer
import typer.core

from sfe_core.errors import SfeError

INTERRUPTED = 130
DEBUG_FLAG = "--debug"


class SfeGroup(typer.core.TyperGroup):
    """The command group: takes `--debug` anywhere on the line, and turns errors into one line."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take `--debug` off the line wherever it stands, so that every command knows it."""
        ctx.meta["sfe.debug"] = DEBUG_FLAG in args
        try:
            return super().parse_args(ctx, [arg for arg in args if arg != DEBUG_FLAG])
        except Exception as error:
            _end_usage_error(error)
            raise

    def invoke(self, ctx: Any) -> Any:
        """Run the command; SfeError, Ctrl-C and the unforeseen end in one line each."""
        debug = ctx.meta["sfe.debug"]
        try:
            return super().invoke(ctx)
        except SfeError as error:
            if debug:
                raise
            complain(str(error))
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt:
            complain("interrupted; run the same command again to go on")
            raise typer.Exit(INTERRUPTED) from None
        except (BrokenPipeError, typer.Exit, typer.Abort):
            raise
        except Exception as error:
            if debug:
                raise
            _end_usage_error(error)
            complain(f"{type(error).__name__}: {error}; run again with --debug to see where")
            raise typer.Exit(1) from error


def complain(message: str) -> None:
    """Print `message` as one line on stderr."""
    line = " ".join(message.split())
    typer.secho("error: ", err=True, nl=False, fg="red", bold=True)
    typer.secho(line, err=True)
    sys.stderr.flush()


def _end_usage_error(error: Exception) -> None:
    """End with one line if `error` is Typer's own (a missing option, a wrong type), else return.

    Its class is vendored in a private module of Typer, so it is told by what it can do.
    """
    if not (hasattr(error, "exit_code") and hasattr(error, "format_message")):
        return
    if type(error).__name__ == "NoArgsIsHelpError":
        raise error  # shows the help
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "sfe"
    complain(f"{error.format_message().rstrip('.')}; see `{command} --help`")
    raise typer.Exit(error.exit_code) from error
