"""One run at a time in a corpus, also across processes and after kills."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sfe_core.corpus import lock as module
from sfe_core.corpus.lock import (
    JOURNAL_FOLDER,
    close_journal,
    corpus_lock,
    sweep_partials,
    worker_lock,
)
from sfe_core.errors import RunError

HOLD = """
import sys
from pathlib import Path
from sfe_core.corpus.lock import corpus_lock, worker_lock
with corpus_lock(Path(sys.argv[1])) as journal:
    if len(sys.argv) > 2:
        held = worker_lock(journal)
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path):
    """Starts a process that holds the corpus until its standard input closes."""
    started = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_second_run_says_who_holds_the_corpus(tmp_path: Path, holder) -> None:
    process = holder()
    with pytest.raises(RunError, match=rf"another .*process {process.pid}, since 20.*wait"):
        with corpus_lock(tmp_path):
            pytest.fail("two runs in one corpus")
    process.communicate("")
    with corpus_lock(tmp_path) as journal:
        assert journal.is_dir()


def test_a_holder_who_is_just_writing_who_it_is_is_awaited(tmp_path: Path, holder) -> None:
    process = holder()
    path = tmp_path / JOURNAL_FOLDER / "holder.json"
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole[:9], encoding="utf-8")
    late = threading.Timer(0.1, path.write_text, [whole])
    late.start()
    with pytest.raises(RunError, match=f"process {process.pid}, since"), corpus_lock(tmp_path):
        pytest.fail("two runs in one corpus")
    late.join()
    # One who never says so is left unnamed.
    path.unlink()
    with pytest.raises(RunError, match=r"is at work in it; wait"), corpus_lock(tmp_path):
        pytest.fail("two runs in one corpus")


def test_the_holder_is_never_seen_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    real = os.replace

    def watch(source: Path, target: Path) -> None:
        seen.append((Path(target).name, Path(target).exists(), Path(source).read_text()))
        real(source, target)

    monkeypatch.setattr(os, "replace", watch)
    with corpus_lock(tmp_path) as journal:
        whole = (journal / "holder.json").read_text()
    assert seen == [("holder.json", False, whole)]
    assert json.loads(whole)["pid"] == os.getpid()


def test_killed_run_lets_go(tmp_path: Path, holder) -> None:
    holder().kill()
    process = holder()  # another process takes it at once
    process.communicate("")


def test_worker_of_a_killed_run_is_waited_for(
    tmp_path: Path, holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = holder("as worker")
    # As if the main process had been killed and a worker of it were still writing.
    os.replace(tmp_path / ".lock", tmp_path / ".lock-of-the-dead")
    monkeypatch.setattr(module, "_WORKER_WAIT_S", 0.2)
    with pytest.raises(RunError, match=f"kill {process.pid}"), corpus_lock(tmp_path):
        pytest.fail("the worker writes on")
    process.communicate("")
    with corpus_lock(tmp_path) as journal:
        assert not list(journal.glob("worker-*"))


def test_worker_lock_is_held_by_this_process(tmp_path: Path) -> None:
    lock = worker_lock(tmp_path)
    assert lock.is_locked and str(os.getpid()) in lock.lock_file
    lock.release()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_folder_is_one_clear_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(RunError, match="cannot be written.*permissions"):
            with corpus_lock(tmp_path / "corpus"):
                pytest.fail("nothing can be written there")
    finally:
        tmp_path.chmod(0o700)


def test_corpus_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "corpus").write_text("a file")
    with pytest.raises(RunError, match="cannot be written"), corpus_lock(tmp_path / "corpus"):
        pytest.fail("that is a file")


def test_sweep_takes_partial_files_of_preprocess_only(tmp_path: Path) -> None:
    ours = ["inputs/a/.sfe-partial-12345678-b.png", ".sfe-partial-12345678-manifest.parquet"]
    others = ["inputs/a/b.png", "shards/.sfe-partial-12345678-0.tar", "manifest.parquet"]
    for name in (*ours, *others):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    assert sweep_partials(tmp_path, [tmp_path / "inputs", tmp_path / "missing"]) == 2
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == set(others)


def test_journal_is_forgotten(tmp_path: Path) -> None:
    with corpus_lock(tmp_path) as journal:
        close_journal(journal)
    assert not journal.exists()
