"""Runs that are killed at any moment, and the runs after them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.layout import MANIFEST, artefact
from sfe_core.corpus.lock import JOURNAL_FOLDER
from sfe_core.corpus.manifest import read_manifest
from sfe_core.corpus.preprocessing.journal import Journal, shard_name
from sfe_core.corpus.preprocessing.plan import plan_preprocess
from sfe_core.corpus.preprocessing.preprocess import preprocess
from sfe_core.errors import RunError
from tests.sfe_core.corpus.preprocessing.test_preprocess import files_of

# A run with small batches, in two processes where asked: killed when so many pictures are there.
RUN = """
import sys
from pathlib import Path
from sfe_core.config.loading import load_workspace
from sfe_core.corpus.preprocessing import decode_ahead
from sfe_core.corpus.preprocessing import plan
from sfe_core.corpus.preprocessing.preprocess import preprocess
decode_ahead._BATCH_PHOTOS = 1
plan.BATCH_SIZE = 1
if __name__ == "__main__":
    settings = ["preprocess.crop_size=64", *sys.argv[2:]]
    preprocess(load_workspace(Path(sys.argv[1]), settings))
"""


def start(workspace: Workspace, script: Path, *settings: str) -> subprocess.Popen[bytes]:
    script.write_text(RUN, encoding="utf-8")
    argv = [sys.executable, str(script), str(workspace.root), *settings]
    return subprocess.Popen(argv, env=os.environ | {"PYTHONPATH": os.getcwd()})


def kill_when(process: subprocess.Popen[bytes], folder: Path, count: int) -> None:
    """Send SIGKILL as soon as a folder of pictures holds so many files."""
    deadline = time.monotonic() + 60
    while len(list(folder.rglob("*.png"))) < count:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "count"), [(1, 1), (1, 3), (2, 2)])
def test_killed_run_goes_on_to_the_same_bytes(
    copied: Workspace, tmp_path: Path, workers: int, count: int
) -> None:
    whole = files_of(copied.corpus)
    shutil.rmtree(copied.corpus)
    process = start(copied, tmp_path / "run.py", f"preprocess.workers={workers}")
    kill_when(process, copied.corpus / "geometry_detail", count)
    assert not (copied.corpus / MANIFEST).exists()
    summary = preprocess(copied)
    # Batches hold one photo here; at most one per process, or two that wait for one, are lost.
    assert summary.kept >= count - 2 * workers and summary.done + summary.kept == 5
    assert workers > 1 or summary.kept >= count - 1
    assert files_of(copied.corpus) == whole


@pytest.mark.slow
def test_killed_run_over_other_settings_is_not_taken_for_the_old_ones(
    copied: Workspace, tmp_path: Path
) -> None:
    whole = files_of(copied.corpus)
    script = tmp_path / "run.py"
    process = start(copied, script, "preprocess.workers=1", "preprocess.crop_size=72")
    before = artefact(copied.corpus, "geometry_detail", "b/flipped").read_bytes()
    deadline = time.monotonic() + 60
    while artefact(copied.corpus, "geometry_detail", "b/flipped").read_bytes() == before:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    # Back to the old settings: the pictures that the killed run wrote over must not be believed.
    assert preprocess(copied).done >= 2
    assert files_of(copied.corpus) == whole


def test_begun_photos_are_made_again(copied: Workspace) -> None:
    whole = files_of(copied.corpus)
    journal = copied.corpus / JOURNAL_FOLDER
    journal.mkdir()
    Journal(journal, shard_name(1, 0)).begin(["a.png"])
    target = artefact(copied.corpus, "inputs", "a")
    target.write_bytes(b"half")
    (target.parent / ".sfe-partial-12345678-a.png").write_bytes(b"a quarter")
    summary = preprocess(copied)
    assert (summary.done, summary.kept) == (1, 4)
    assert files_of(copied.corpus) == whole


@pytest.mark.slow
def test_second_run_at_once_says_so(copied: Workspace, tmp_path: Path) -> None:
    shutil.rmtree(copied.corpus)
    process = start(copied, tmp_path / "run.py", "preprocess.workers=1")
    try:
        while not (copied.corpus / JOURNAL_FOLDER / "holder.json").is_file():
            assert process.poll() is None
            time.sleep(0.005)
        with pytest.raises(RunError, match=f"another `sfe preprocess`.*process {process.pid}"):
            preprocess(copied)
        assert process.wait() == 0
    finally:
        process.kill()
    assert preprocess(copied).kept == 5


def test_photo_that_vanishes_under_way_is_a_row_and_then_none(
    copied: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(copied.photos / "a.png", copied.photos / "d.png")
    real = plan_preprocess

    def plan_then_lose(*arguments):
        plan = real(*arguments)
        (copied.photos / "d.png").unlink(missing_ok=True)
        return plan

    monkeypatch.setattr("sfe_core.corpus.preprocessing.preprocess.plan_preprocess", plan_then_lose)
    summary = preprocess(copied)
    assert summary.problems[0] == "d.png: unreadable, No such file or directory"
    preprocess(copied)
    assert "d.png" not in set(read_manifest(copied.corpus / MANIFEST)["photo"])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_full_disk_is_one_line_and_the_manifest_stands(
    copied: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(copied.photos / "a.png", copied.photos / "d.png")
    before = (copied.corpus / MANIFEST).read_bytes()

    def full(path: Path, *arguments: object, **options: object) -> None:
        with open("/dev/full", "wb", buffering=0) as stream:
            stream.write(b"x")

    monkeypatch.setattr("PIL.Image.Image.save", full)
    with pytest.raises(RunError, match=r"cannot be written \(No space left on device\).*free"):
        preprocess(copied)
    assert (copied.corpus / MANIFEST).read_bytes() == before
    monkeypatch.undo()
    assert preprocess(copied).done == 1
