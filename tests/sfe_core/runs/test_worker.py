"""The worker process's own main."""

from __future__ import annotations

import json

import pytest
from pydantic import TypeAdapter

from sfe_core.processes.worker import EVENT_MARK, answer
from sfe_core.runs.worker import work
from sfe_core.runs.worker_request import Request
from sfe_core.training.engine.runlog import read_metrics
from sfe_core.training.options import TrainSummary
from tests.sfe_core.conftest import with_settings
from tests.sfe_core.training.engine.test_loop import PLAIN


def events(text: str) -> list[list]:
    marked = [line for line in text.splitlines() if line.startswith(EVENT_MARK)]
    return [json.loads(line.removeprefix(EVENT_MARK)) for line in marked]


def request(workspace, **options) -> list[str]:
    config = workspace.config.model_dump(mode="json")
    told = {"workspace": str(workspace.root), "config": config}
    return [json.dumps(told | {"options": {"cpu_processes": 1} | options})]


def test_it_trains_and_tells(workspace, capsys):
    quick = with_settings(workspace, loss=PLAIN)
    assert answer(work, Request, request(quick, steps=1, run="mine")) == 0
    told = events(capsys.readouterr().out)
    assert ["open", "Training", 1, 0] in told
    name, plain = told[-1]
    summary = TypeAdapter(TrainSummary).validate_python(plain)
    assert name == "done" and summary.step == 1
    assert summary.run == workspace.runs / "mine"
    assert len(read_metrics(summary.run)) == 1


def test_errors_are_told_with_their_code(workspace, capsys):
    assert answer(work, Request, request(workspace, resume="gone")) == 2
    name, code, where, problem, remedy = events(capsys.readouterr().out)[-1]
    assert (name, code, where, problem) == ("error", 2, "--resume gone", "no checkpoint there")
    assert remedy


@pytest.mark.parametrize(
    ("rank", "local_rank", "told"),
    [(0, 0, ["pid", "say", "done"]), (1, 1, ["pid"]), (2, 0, ["pid", "done"])],
)
def test_the_first_process_tells_of_progress_and_one_of_each_machine_of_the_end(
    workspace, capsys, monkeypatch, rank, local_rank, told
):
    def said(workspace, options, reporter):
        reporter.say("half of it")
        return TrainSummary(workspace.runs, workspace.runs, 1, 8, 2.0, losses={})

    monkeypatch.setattr("sfe_core.runs.start.train", said)
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setenv("LOCAL_RANK", str(local_rank))
    assert answer(work, Request, request(workspace)) == 0
    assert [name for name, *_ in events(capsys.readouterr().out)] == told
