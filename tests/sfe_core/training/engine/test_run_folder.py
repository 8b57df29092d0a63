"""A run's folder: whose it is, under which name, and what is put aside in it."""

from __future__ import annotations

import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from accelerate import Accelerator

from sfe_core.errors import RunError, UserError
from sfe_core.reporting import Reporter
from sfe_core.runs.launch import launch
from sfe_core.runs.start import plan_training
from sfe_core.training.engine import run_folder
from sfe_core.training.engine.checkpoints import list_checkpoints
from sfe_core.training.engine.run_folder import (
    lock_run,
    name_after,
    open_run,
    put_aside_newer,
    require_free,
    require_name,
    reserve_run,
)
from sfe_core.training.options import TrainOptions
from tests.listening import Listener
from tests.processes import start_clean
from tests.sfe_core.conftest import with_settings
from tests.sfe_core.training.engine.test_checkpoints import make
from tests.sfe_core.training.engine.test_loop import PLAIN, run

HELD = "run mine: another `sfe train` is at work in it"


@pytest.fixture
def quick(workspace):
    train = {"steps": 2, "checkpoint_every": 1, "keep_checkpoints": 9, "trackers": ()}
    return with_settings(workspace, loss=PLAIN, train=train)


def hold(run: Path, held: Path) -> None:
    lock = lock_run(run)
    held.touch()
    time.sleep(60)
    lock.release()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_a_lock_keeps_others_out_and_ends_with_its_process_however_that_ends(tmp_path):
    mine, held = tmp_path / "mine", tmp_path / "held"
    process = start_clean(hold, mine, held)
    while not held.exists():
        time.sleep(0.05)
    with pytest.raises(RunError, match=rf"{HELD} \(process {process.pid}, since .*\); wait"):
        lock_run(mine)
    with pytest.raises(RunError, match=HELD):
        require_free(mine)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    require_free(mine)
    lock_run(mine).release()
    require_free(tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{"run": "mine", "resume": "auto"}, {"resume": "auto"}, {"resume": "mine"}]
)
def test_the_second_of_two_is_told_and_touches_nothing(quick, options):
    run(quick, run="mine")
    before = contents(quick.runs / "mine")
    with_more = TrainOptions(cpu_processes=2, steps=3, **options)
    lock = lock_run(quick.runs / "mine", sign=False)
    try:
        for processes in (1, 2):
            chosen = TrainOptions(**{**vars(with_more), "cpu_processes": processes})
            with pytest.raises(RunError, match=HELD):
                plan_training(quick, chosen)  # --dry-run
            with pytest.raises(RunError, match=HELD):
                launch(quick, chosen, Reporter())
    finally:
        lock.release()
    assert contents(quick.runs / "mine") == before


@pytest.mark.slow
@pytest.mark.parametrize("resume", [None, "auto"])
def test_what_comes_between_plan_and_start_is_noticed(quick, resume):
    options = TrainOptions(cpu_processes=1, run="mine", resume=resume)
    if resume:
        run(quick, run="mine", steps=1)
        options = TrainOptions(**{**vars(options), "steps": 2})
    plan = plan_training(quick, options)
    lock = lock_run(quick.runs / "mine")
    with pytest.raises(RunError, match=HELD):
        open_run(quick, plan, options, Accelerator(cpu=True))
    lock.release()
    run(quick, run="mine", resume=resume, steps=2)
    words = "another process has just trained in it" if resume else "exists already"
    with pytest.raises((RunError, UserError), match=words):
        open_run(quick, plan, options, Accelerator(cpu=True))
    lock_run(quick.runs / "mine").release()  # not kept by what failed


def test_runs_without_a_name_that_start_at_once_get_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(run_folder.time, "strftime", lambda form: "20260101-000000")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: reserve_run(tmp_path / "runs"), range(16)))
    assert len({path.name for path in found}) == 16 and all(path.is_dir() for path in found)


def test_a_name_reserved_for_nothing_is_given_back(quick, monkeypatch):
    def fails(*arguments):
        raise RunError("here", "broken")

    monkeypatch.setattr("sfe_core.runs.launch.train", fails)
    with pytest.raises(RunError, match="broken"):
        launch(quick, TrainOptions(cpu_processes=1), Reporter())
    assert list(quick.runs.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["", " ", ".", "..", ".hidden", "a/b", "/a", "../a", "a\\b", "a\n"]
)
def test_odd_names_are_refused(name):
    with pytest.raises(UserError, match="is not a name of a folder"):
        require_name(name)


@pytest.mark.slow
def test_a_run_that_saved_nothing_is_taken_over_by_the_same_command(quick):
    begun = quick.runs / "mine"
    begun.mkdir(parents=True)
    (begun / "config.yaml").write_text("train: {}\n")
    (begun / "metrics.jsonl").write_text(json.dumps({"step": 77, "total": 1.0}) + "\n")
    (begun / ".sfe-partial-checkpoint-1").mkdir()
    with pytest.raises(UserError, match="--resume mine: .*no checkpoint yet.*sfe train --run mine"):
        run(quick, resume="mine")
    listener = Listener()
    summary = run(quick, listener, run="mine")
    assert any("run mine was begun before and saved nothing" in line for line in listener.lines)
    assert [folder.name for folder in list_checkpoints(begun)] == ["checkpoint-1", "checkpoint-2"]
    assert summary.run == begun and not list(begun.glob(".sfe-partial*"))
    with pytest.raises(UserError, match="run mine: exists already.*`sfe train --resume mine`"):
        plan_training(quick, TrainOptions(cpu_processes=1, run="mine"))


@pytest.mark.slow
def test_what_came_after_an_older_checkpoint_is_put_aside(quick):
    first = run(quick, run="mine", steps=3)
    middle = first.run / "checkpoint-1"
    before = contents(first.run / "checkpoint-3").values()
    listener = Listener()
    run(quick, resume=str(middle), steps=1)  # nothing left to do
    assert len(list_checkpoints(first.run)) == 3
    options = {"resume": str(middle), "steps": 2}
    run(with_settings(quick, train={"keep_checkpoints": 1}), listener, **options)
    aside = first.run / "after-checkpoint-1"
    assert any(f"is now in {aside}" in line for line in listener.lines)
    assert {path.name for path in aside.iterdir()} == {
        "checkpoint-2",
        "checkpoint-3",
        "config.yaml",
        "metrics.jsonl",
    }
    assert list(contents(aside / "checkpoint-3").values()) == list(before)
    # Counted with the others, the one just saved would have been the oldest but for the limit.
    assert list_checkpoints(first.run)[-1].name == "checkpoint-2"


def test_nothing_newer_is_nothing_to_put_aside(tmp_path):
    for step in (1, 2):
        make(tmp_path, step)
    assert put_aside_newer(tmp_path / "checkpoint-2") is None
    assert put_aside_newer(tmp_path / "checkpoint-1") == tmp_path / "after-checkpoint-1"
    make(tmp_path, 2)
    assert put_aside_newer(tmp_path / "checkpoint-1") == tmp_path / "after-checkpoint-1-2"


def test_a_name_after_a_person_is_the_first_that_is_free(tmp_path):
    assert name_after(tmp_path, "Anna Maria/x", going_on=False) == "Anna-Maria-x"
    for name in ("anna", "anna-2"):
        (tmp_path / name).mkdir()
    assert name_after(tmp_path, "anna", going_on=False) == "anna-3"
    assert name_after(tmp_path, "anna", going_on=True) == "anna-2"
