"""The application as a person meets it: help, start-up, exit codes, one-line errors."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
import typer
from typer.testing import CliRunner

from sfe_cli.errors import SfeGroup
from sfe_core.errors import RunError, UserError
from tests.sfe_cli.typed import sfe

COMMANDS = {
    "demo", "init", "doctor", "preprocess", "train", "package-checkpoint", "triptych",
    "evaluate", "generate", "edit", "reconstruct", "synthesize", "corpus", "assets", "config",
}  # fmt: skip
WITH_EXAMPLES = [
    ["demo"], ["init"], ["doctor"], ["preprocess"], ["train"], ["package-checkpoint"], ["triptych"],
    ["evaluate"], ["generate"], ["edit"], ["reconstruct"], ["synthesize"], ["assets", "list"],
    ["assets", "verify"],
    ["assets", "fetch"], ["config", "show"], ["corpus", "import"], ["corpus", "check"],
    ["corpus", "report"], ["corpus", "export"], ["corpus", "stats"],
]  # fmt: skip
HEAVY = ("torch", "pandas", "numpy", "pydantic", "PIL", "matplotlib", "diffusers", "requests")


def test_help_names_every_command_in_groups():
    result = sfe("--help")
    assert result.exit_code == 0
    for name in COMMANDS:
        assert name in result.stdout
    for panel in ("Get started", "The five commands", "Data, models and settings"):
        assert panel in result.stdout


@pytest.mark.parametrize("command", WITH_EXAMPLES, ids=" ".join)
def test_every_command_explains_itself_with_examples(command):
    result = sfe(*command, "--help")
    assert result.exit_code == 0
    examples = result.stdout.partition("Examples")[2]
    assert f"sfe {' '.join(command)}" in examples


@pytest.mark.parametrize("seed", ["-1", str(2**63), "x"])
@pytest.mark.parametrize(
    "command", [["generate", "a face"], ["synthesize"], ["demo"]], ids=" ".join
)
def test_seeds_out_of_range_are_one_line(command, seed):
    result = sfe(*command, "--seed", seed)
    assert result.exit_code == 2 and "'--seed'" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_help_imports_nothing_heavy():
    script = (
        "import sys; from typer.testing import CliRunner; from sfe_cli.main import app; "
        "CliRunner().invoke(app, ['--help']); "
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def _failing_app(error: BaseException) -> typer.Typer:
    failing = typer.Typer(cls=SfeGroup, pretty_exceptions_enable=False)

    @failing.command()
    def first() -> None:
        raise error

    @failing.command()
    def second() -> None:
        """Makes this a group."""

    return failing


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UserError("sfe.yaml: a.b", "found 3", "allowed is 4"), 2, "sfe.yaml: a.b: found 3; allow"),
        (RunError("disk", "full"), 1, "disk: full"),
        (ValueError("two\nlines"), 1, "ValueError: two lines; run again with --debug"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
    ids=["user", "run", "unforeseen", "interrupt"],
)
def test_an_error_is_one_line_on_stderr_and_its_exit_code(error, code, said):
    result = CliRunner().invoke(_failing_app(error), ["first"])
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith(f"error: {said}")


@pytest.mark.parametrize("args", [["--debug", "first"], ["first", "--debug"]])
def test_debug_lets_the_exception_through_wherever_it_stands(args):
    failing = _failing_app(UserError("here", "wrong"))

    @failing.callback()
    def root(debug: bool = False) -> None:
        del debug

    result = CliRunner().invoke(failing, args)
    assert isinstance(result.exception, UserError)


def test_debug_prints_a_traceback_of_the_installed_command(tmp_path):
    command = [sys.executable, "-m", "sfe_cli.main", "config", "show", "-w", str(tmp_path)]
    quiet = subprocess.run(command, capture_output=True, text=True)
    loud = subprocess.run([*command, "--debug"], capture_output=True, text=True)
    assert quiet.returncode == 2 and "Traceback" not in quiet.stderr
    assert "Traceback" in loud.stderr and "UserError" in loud.stderr


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        (("--nonsense",), ("--nonsense", "--help")),
        (("nonsense",), ("nonsense",)),
        (("train", "--nonsense"), ("--nonsense", "train --help")),
        (("train", "--steps", "0"), ("--steps", "greater than or equal to 1")),
        (("train", "--gpus", "none"), ("--gpus", "integer")),
        (("assets", "fetch"), ("NAME", "assets fetch --help")),
    ],
)
def test_a_wrong_option_is_one_line_that_names_the_help(args, parts):
    result = sfe(*args)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    for part in parts:
        assert part in result.stderr


@pytest.mark.parametrize("args", [(), ("assets",), ("config",)])
def test_a_group_alone_shows_its_help(args):
    result = sfe(*args)
    assert "Usage" in result.output and "error:" not in result.output


def test_version_is_that_of_the_package():
    from importlib.metadata import version

    assert sfe("--version").stdout.strip() == version("sfe")


def test_ctrl_c_ends_the_installed_command_with_130(tmp_path):
    # A background job is started with the interrupt ignored, and would hand that on.
    script = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from sfe_cli.main import app; import sfe_core.doctor;"
        "sfe_core.doctor.diagnose = lambda *a: signal.raise_signal(signal.SIGINT);"
        "app(['doctor'])"
    )
    begin = time.monotonic()
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 130
    assert "Traceback" not in run.stderr
    assert time.monotonic() - begin < 60
