"""Shards under a launcher: the same corpus as from one process."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.artefacts.hashes import artefact_hashes
from sfe_core.corpus.preprocessing import preprocess as module
from sfe_core.corpus.preprocessing import shard_worker
from sfe_core.corpus.preprocessing.journal import JournalIndex
from sfe_core.corpus.preprocessing.photo_jobs import WorkSettings
from sfe_core.corpus.preprocessing.plan import plan_preprocess
from sfe_core.corpus.preprocessing.preprocess import preprocess
from sfe_core.errors import RunError, UserError
from sfe_core.processes import launching
from sfe_core.processes.placement import Placement
from sfe_core.processes.worker import answer
from sfe_core.reporting import Reporter
from tests.listening import Listener
from tests.sfe_core.corpus.conftest import make_workspace
from tests.sfe_core.corpus.preprocessing.test_preprocess import files_of


@pytest.fixture
def fresh(small_corpus: Workspace, tmp_path: Path) -> Workspace:
    """The photos of the small corpus, nothing made of them yet."""
    shutil.copytree(small_corpus.photos, tmp_path / "w" / "photos")
    return make_workspace(tmp_path / "w")


def settings_of(workspace: Workspace) -> WorkSettings:
    config = workspace.config.preprocess
    return WorkSettings(workspace.corpus, config, artefact_hashes(config, workspace.root), 1)


@pytest.mark.slow
def test_two_launched_processes_give_the_bytes_of_one(
    fresh: Workspace, small_corpus: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As for two GPUs, but that the processes are told to stay on the CPU.
    on_cpu = Placement("cpu", 2)

    def launch(shard, jobs, placement, *arguments):
        assert placement == Placement("cuda", 2)
        shard_worker.launch_shards(shard, jobs, on_cpu, *arguments)

    monkeypatch.setattr(module, "launch_shards", launch)
    monkeypatch.setattr(module, "place_preprocess", lambda *_: Placement("cuda", 2))
    monkeypatch.setattr("sfe_core.corpus.preprocessing.plan.BATCH_SIZE", 2)
    listener = Listener()
    assert preprocess(fresh, listener, gpus=2).done == 5
    assert listener.done["preprocess"] == 5
    assert files_of(fresh.corpus) == files_of(small_corpus.corpus)


def test_a_worker_takes_every_nth_job(fresh: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = fresh.corpus / ".journal"
    journal.mkdir(parents=True)
    asked = []
    monkeypatch.setattr(
        launching, "follow", lambda argv, *_: asked.append(Path(argv[-1]).read_text())
    )
    jobs = plan_preprocess(fresh).jobs
    shard_worker.launch_shards(
        settings_of(fresh), jobs, Placement("cpu", 2), 1, journal, Reporter(), None
    )
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert answer(shard_worker.work, shard_worker.Request, asked) == 0
    done = [photo for photo, _, _ in JournalIndex(journal).groups()]
    assert done == [job.photo for job in jobs[1::2]] == ["b/flipped.png", "c.png"]
    monkeypatch.setenv("RANK", "0")
    assert answer(shard_worker.work, shard_worker.Request, asked) == 0
    assert len(JournalIndex(journal)) == 5


def test_errors_of_a_worker_are_told(
    fresh: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = fresh.corpus / ".journal"
    journal.mkdir(parents=True)
    (fresh.corpus / "inputs").write_text("a file where a folder must be")
    asked = []
    monkeypatch.setattr(
        launching, "follow", lambda argv, *_: asked.append(Path(argv[-1]).read_text())
    )
    jobs = plan_preprocess(fresh).jobs
    shard_worker.launch_shards(
        settings_of(fresh), jobs, Placement("cpu", 1), 1, journal, Reporter(), None
    )
    for name, value in (("ACCELERATE_USE_CPU", "true"), ("WORLD_SIZE", "1"), ("RANK", "0")):
        monkeypatch.setenv(name, value)
    assert answer(shard_worker.work, shard_worker.Request, asked) == RunError.exit_code
    assert '@sfe ["error", 1, ' in capsys.readouterr().out
    assert JournalIndex(journal).unfinished  # begun, and to be made again


def test_gpus_that_are_not_there_are_told_before_anything_is_written(fresh: Workspace) -> None:
    with pytest.raises(UserError, match="--gpus 2"):
        preprocess(fresh, gpus=2)
    assert not fresh.corpus.exists()
