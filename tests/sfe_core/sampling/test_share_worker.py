from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.layout import MAP_FOLDERS, artefact
from sfe_core.corpus.reader import Corpus
from sfe_core.errors import RunError
from sfe_core.files import TEMPORARY_MARK
from sfe_core.processes import launching
from sfe_core.processes.placement import Placement
from sfe_core.processes.worker import EVENT_MARK, answer
from sfe_core.sampling import share, share_worker
from sfe_core.sampling.pictures import draw_series
from tests.processes import start_clean
from tests.sfe_core.sampling.conftest import with_sampling
from tests.tiny_workspace import SPLIT

TWO = Placement("cpu", 2)


def pictures(folder: Path) -> dict[str, bytes]:
    found = folder.rglob("*.png")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


@pytest.fixture(scope="module")
def expected(packaged_once: Workspace, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What one process draws, one by one."""
    root = tmp_path_factory.mktemp("alone") / "work"
    shutil.copytree(packaged_once.root, root)
    workspace = with_sampling(Workspace(root, packaged_once.config), batch_size=1)
    return pictures(draw_series(workspace, SPLIT, "guided").folder)


@pytest.fixture
def singly(workspace: Workspace) -> Workspace:
    """Pictures drawn one by one, so that they are the same to the bit whoever draws them."""
    return with_sampling(workspace, batch_size=1)


@pytest.fixture
def ranks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> list[list]:
    """Runs the workers here, one after another, and keeps the events that they tell."""
    events: list[list] = []

    def follow(argv, environment, _reporter, _who, _task):
        assert "--nproc_per_node=2" in argv and environment["ACCELERATE_USE_CPU"] == "true"
        monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
        monkeypatch.setenv("WORLD_SIZE", "2")
        for rank in range(2):
            monkeypatch.setenv("RANK", str(rank))
            code = answer(share_worker.work, share_worker.Request, argv[-1:])
            lines = capsys.readouterr().out.splitlines()
            told = [json.loads(line.removeprefix(EVENT_MARK)) for line in lines]
            events.append([code, told])

    monkeypatch.setattr(launching, "follow", follow)
    return events


def test_each_process_draws_its_part_and_the_pictures_are_the_same(
    singly: Workspace, ranks: list, expected: dict
):
    series = draw_series(singly, SPLIT, "guided", placement=TWO)
    assert series.drawn == 5
    assert pictures(series.folder) == expected
    assert [code for code, _ in ranks] == [0, 0]
    assert [[event for event, *_ in told] for _, told in ranks] == [
        [*["advance"] * 3, "done"],
        ["advance"] * 2,
    ]


def test_an_error_in_a_worker_is_told_in_words(workspace: Workspace, ranks: list):
    key = Corpus.open(workspace).split(SPLIT)["key"][1]  # the second process's first
    artefact(workspace.corpus, MAP_FOLDERS["mesh"], key).write_bytes(b"torn")
    draw_series(workspace, SPLIT, "guided", placement=TWO)
    assert [code for code, _ in ranks] == [0, RunError.exit_code]
    event, code, where, problem, remedy = ranks[1][1][-1]
    assert (event, code) == ("error", RunError.exit_code)
    assert where.endswith(f"{key}.png") and "cannot be read" in problem and "preprocess" in remedy


def test_one_missing_picture_needs_no_second_process(singly: Workspace, ranks: list):
    series = draw_series(singly, SPLIT, "text")
    next(series.folder.rglob("*.png")).unlink()
    assert draw_series(singly, SPLIT, "text", placement=TWO).drawn == 1
    assert ranks == []


def killed_at_the_second_picture(workspace: Workspace) -> None:
    """Never returns: draws, and is killed with a picture half written."""
    real, saved = share.save_png, []

    def save_one(image, target, *rest):
        if saved:
            (target.parent / f"{TEMPORARY_MARK}0-torn.png").write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
        saved.append(real(image, target, *rest))

    share.save_png = save_one
    draw_series(workspace, SPLIT, "guided")


def test_a_killed_run_is_gone_on_with_to_the_same_bytes(
    singly: Workspace, ranks: list, expected: dict
):
    killed = start_clean(killed_at_the_second_picture, singly)
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    assert len(list(singly.generated.rglob(f"{TEMPORARY_MARK}*"))) == 1
    series = draw_series(singly, SPLIT, "guided", placement=TWO)
    assert (series.drawn, series.reused, len(ranks)) == (4, 1, 2)
    assert pictures(series.folder) == expected
    assert not list(singly.generated.rglob(f"{TEMPORARY_MARK}*"))
