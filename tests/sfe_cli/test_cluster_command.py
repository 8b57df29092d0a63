"""`sfe train --cluster`: every option of the command reaches the job, or is refused in a line."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import typer

from sfe_cli.cluster import NOT_REPEATED, REFUSED, repeated_words
from sfe_cli.main import app
from sfe_core.config.cluster_sections import ClusterConfig
from sfe_core.config.loading import load_workspace
from sfe_core.reporting import Reporter
from sfe_core.runs.cluster import SCHEDULERS, Job, describe
from sfe_core.runs.launch import launch
from sfe_core.training.options import TrainOptions
from tests.sfe_cli.typed import sfe

TRAIN = typer.main.get_command(app).commands["train"]
REPEATED = [option for option in TRAIN.params if option.name not in NOT_REPEATED]


def context_of(words: list[str]) -> typer.Context:
    return TRAIN.make_context("train", list(words))


def values_of(words: list[str]) -> dict[str, Any]:
    return context_of(words).params


def typed(option: Any) -> list[str]:
    """An option as somebody might type it, with a value that is not its default."""
    if option.is_flag:
        return (option.secondary_opts if option.default else option.opts)[:1]
    for text in ("7", 'it\'s "a b"=%s,$HOME'):
        words = [option.opts[0], text] * (2 if option.multiple else 1)
        try:
            context_of(words)
        except Exception as error:  # Typer's own: this option takes another kind of value
            if not hasattr(error, "format_message"):
                raise
            continue
        return words
    raise AssertionError(f"give {option.name} a value that it takes")


def words_of_job(scheduler: str, words: list[str]) -> list[str]:
    """What `sfe train` is given by a job that was described with these words."""
    job = Job("mine", Path("/runs/mine/job"), ("/py", *words), 1, 1, ClusterConfig())
    text = describe(scheduler, job, {})
    if scheduler == "slurm":
        line = next(line for line in text.splitlines() if line.startswith("srun "))
        return shlex.split(line)[4:]
    line = next(line for line in text.splitlines() if line.startswith("arguments = "))
    return split_as_condor(line.removeprefix("arguments = "))


def split_as_condor(text: str) -> list[str]:
    """Words of HTCondor's new syntax: " around all, ' around a word, both doubled inside."""
    assert text[0] == text[-1] == '"'
    words, word, quoted, rest = [], None, False, text[1:-1].replace('""', '"')
    while rest:
        if rest.startswith("''") and quoted:
            word, rest = word + "'", rest[2:]
            continue
        letter, rest = rest[0], rest[1:]
        if letter == "'":
            quoted, word = not quoted, word or ""
        elif letter == " " and not quoted:
            words += [] if word is None else [word]
            word = None
        else:
            word = (word or "") + letter
    return words + ([] if word is None else [word])


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("option", REPEATED, ids=lambda option: option.name)
def test_every_option_comes_back_out_of_the_job(scheduler: str, option: Any) -> None:
    given = context_of(typed(option))
    assert given.params[option.name] != option.default
    assert values_of(words_of_job(scheduler, repeated_words(given))) == given.params


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_all_of_them_at_once_come_back(scheduler: str) -> None:
    given = context_of([word for option in REPEATED for word in typed(option)])
    assert values_of(words_of_job(scheduler, repeated_words(given))) == given.params


def test_what_is_not_repeated_is_an_option_and_says_why() -> None:
    assert set(REFUSED) < set(NOT_REPEATED) < {option.name for option in TRAIN.params}
    assert all(NOT_REPEATED.values())


def said_by(folder: Path, *words: str) -> Any:
    start = ("train", "-w", folder, "--cpu-processes", "1", "--dry-run", "--cluster", "slurm")
    return sfe(*start, *words)


def words_printed(text: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith("srun "))
    return shlex.split(line)[7:]


@pytest.mark.parametrize("option", [o for o in TRAIN.params if o.name in REFUSED], ids=str)
def test_what_makes_no_sense_for_a_job_is_refused_in_a_line(trainable: Path, option: Any) -> None:
    said = said_by(trainable, *typed(option))
    assert said.exit_code == 2 and said.stderr.count("\n") == 1, said.output
    assert said.stderr.startswith(f"error: {option.opts[0]} with --cluster: refused; ")


def test_a_job_goes_on_with_the_run_that_is_resumed(trainable: Path) -> None:
    quick = ["train.steps=2", "train.checkpoint_every=1", "train.trackers=[]"]
    quick += [f"loss.{name}=0" for name in ("perceptual", "valence", "arousal", "expression")]
    options = TrainOptions(cpu_processes=1, run="mine")
    launch(load_workspace(trainable, quick), options, Reporter())
    sets = [word for change in quick for word in ("--set", change)]
    changed = [*sets, "--set", "train.learning_rate=1e-3", "--steps", "9"]
    refused = said_by(trainable, *changed, "--resume", "mine")
    assert refused.exit_code == 2 and "add --accept-changes" in refused.stderr
    said = said_by(trainable, *changed, "--resume", "mine", "--accept-changes")
    assert said.exit_code == 0, said.output
    values = values_of(words_printed(said.stdout))
    assert (values["name"], values["resume"], values["accept_changes"]) == ("mine", "auto", True)
    assert (values["steps"], values["cpu_processes"]) == (9, 1)
    assert values["changes"] == [*quick, "train.learning_rate=1e-3"]
    # Of all runs the newest, and from then on that one.
    said = said_by(trainable, *sets, "--resume", "auto")
    assert values_of(words_printed(said.stdout))["name"] == "mine"
    # At its second start, a job that names an older checkpoint would undo what it did.
    older = said_by(trainable, *sets, "--resume", "mine/checkpoint-1")
    assert older.exit_code == 2 and older.stderr.count("\n") == 1
    assert "goes on from the newest checkpoint at each start, checkpoint-2" in older.stderr
    copied = shutil.copytree(trainable / "runs" / "mine", trainable / "copy")
    elsewhere = said_by(trainable, *sets, "--resume", str(copied))
    assert elsewhere.exit_code == 2 and "a job goes on with a run below" in elsewhere.stderr
