"""The errors that reach a person: one line that says where, what was found and what to do."""

from __future__ import annotations

from pathlib import Path


class SfeError(Exception):
    """Base of every error the command line shows as one line instead of a traceback.

    Args:
        where: the field, file or option at fault, e.g. `sfe.yaml: train.steps`.
        problem: what was found there, with the value.
        remedy: what is allowed and the next step to take.
    """

    exit_code = 1

    def __init__(self, where: str | Path, problem: str, remedy: str = "") -> None:
        self.where, self.problem, self.remedy = str(where), problem, remedy
        line = f"{where}: {problem}" + (f"; {remedy}" if remedy else "")
        super().__init__(" ".join(line.split()))

    def __reduce__(self) -> tuple[type[SfeError], tuple[str, str, str]]:
        # Exceptions are pickled by their one line; a pool that cannot read it calls itself broken.
        return type(self), (self.where, self.problem, self.remedy)


class UserError(SfeError):
    """Something the user gave is wrong: a field, a path, an option. Exit code 2."""

    exit_code = 2


class RunError(SfeError):
    """The work itself could not be done: a full disk, a lost worker, a torn file. Exit code 1."""


# The code HTCondor's manual uses for "saved my state, start me again" (checkpoint_exit_code).
REQUEUE_EXIT_CODE = 85


class Stopped(SfeError):
    """A signal ended the work early; all is saved, and it can go on. Exit code 85."""

    exit_code = REQUEUE_EXIT_CODE


class Interrupted(SfeError):
    """Ctrl-C ended the work at once. Exit code 130, as of every interrupted command."""

    exit_code = 130


def error_of(exit_code: int, where: str, problem: str, remedy: str) -> SfeError:
    """The error that a process with this exit code told of."""
    for kind in (UserError, Stopped, Interrupted):
        if exit_code == kind.exit_code:
            return kind(where, problem, remedy)
    return RunError(where, problem, remedy)
