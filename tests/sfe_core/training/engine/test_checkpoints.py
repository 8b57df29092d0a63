"""Finding, naming and pruning checkpoints."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sfe_core.errors import RunError, UserError
from sfe_core.files import write_json
from sfe_core.training.engine.checkpoints import (
    META,
    CheckpointMeta,
    best_checkpoint,
    clear_remains,
    find_newest,
    list_checkpoints,
    newest_checkpoint,
    newest_sound,
    prune,
    read_meta,
    resolve_checkpoint,
    that_learnt,
    verify_checkpoint,
)
from sfe_core.training.engine.checksums import write_checksums


def make(
    run: Path,
    step: int,
    saved_at: str = "2026-01-01T00:00:00+00:00",
    skipped: int = 0,
    **metrics: float,
) -> Path:
    folder = run / f"checkpoint-{step}"
    meta = CheckpointMeta(
        step, 8 * step, saved_at, "base", "b", "c", True, skipped=skipped, metrics=metrics
    )
    write_json(folder / META, meta.to_json())
    write_checksums(folder)
    return folder


def test_ordered_by_step_not_by_name(tmp_path):
    for step in (900, 1000, 50):
        make(tmp_path, step)
    assert [folder.name for folder in list_checkpoints(tmp_path)] == [
        "checkpoint-50",
        "checkpoint-900",
        "checkpoint-1000",
    ]


def test_half_written_folders_do_not_count(tmp_path):
    (tmp_path / "checkpoint-7" / "unet").mkdir(parents=True)
    (tmp_path / ".sfe-partial-checkpoint-9").mkdir()
    assert list_checkpoints(tmp_path) == []


def test_newest_is_the_one_saved_last(tmp_path):
    make(tmp_path / "b", 500, "2026-01-01T00:00:00+00:00")
    late = make(tmp_path / "a", 10, "2026-01-02T00:00:00+00:00")
    assert newest_checkpoint(tmp_path) == late


def test_none_yet(tmp_path):
    assert find_newest(tmp_path / "runs") is None
    with pytest.raises(UserError, match="no checkpoint yet.*sfe train"):
        newest_checkpoint(tmp_path / "runs")


def test_resolving_a_run_its_name_or_a_checkpoint(tmp_path):
    old, new = make(tmp_path / "first", 1), make(tmp_path / "first", 2)
    assert resolve_checkpoint("first", tmp_path) == new
    assert resolve_checkpoint(str(tmp_path / "first"), tmp_path) == new
    assert resolve_checkpoint(str(old), tmp_path) == old
    with pytest.raises(UserError, match="--resume second.*first"):
        resolve_checkpoint("second", tmp_path)


def test_pruning_keeps_the_newest(tmp_path):
    for step in (1, 2, 3, 4):
        make(tmp_path, step)
    prune(tmp_path, 2)
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["checkpoint-3", "checkpoint-4"]


def test_pruning_keeps_the_best_too(tmp_path):
    for step, top1, error in ((1, 0.5, 3.0), (2, 0.75, 9.0), (3, 0.75, 4.0), (4, 0.25, 8.0)):
        make(tmp_path, step, top1=top1, guidance_error=error)
    make(tmp_path, 5)
    assert best_checkpoint(tmp_path, "top1").name == "checkpoint-3"
    assert best_checkpoint(tmp_path, "guidance_error").name == "checkpoint-1"
    assert best_checkpoint(tmp_path, "loss") is None
    prune(tmp_path, 1, "guidance_error")
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["checkpoint-1", "checkpoint-5"]


def test_checkpoints_of_a_streak_push_out_none_that_learnt(tmp_path):
    for step, skipped in ((1, 0), (2, 0), (3, 0), (4, 1), (5, 2), (6, 3), (7, 4)):
        make(tmp_path, step, skipped=skipped)
        prune(tmp_path, 2)
    assert [folder.name[-1] for folder in list_checkpoints(tmp_path)] == ["2", "3", "6", "7"]
    assert [folder.name[-1] for folder in that_learnt(tmp_path)] == ["2", "3"]
    # One that learnt since, though its own update was skipped, is one of them.
    make(tmp_path, 9, skipped=5)
    assert that_learnt(tmp_path)[-1].name == "checkpoint-9"
    shutil.rmtree(tmp_path)
    make(tmp_path, 4, skipped=4)
    assert that_learnt(tmp_path) == []


def test_the_newest_sound_one_and_what_is_wrong_with_newer_ones(tmp_path):
    run = tmp_path / "run"
    sound, bare, torn = (make(run, step) for step in (1, 2, 3))
    (bare / "checksums.sha256").unlink()
    (torn / META).write_text("{")
    found, complaints = newest_sound(run)
    assert found == sound and verify_checkpoint(sound) is None
    assert len(complaints) == 2
    assert "checkpoint-3: meta.json is not what was written" in complaints[0]
    assert "checkpoint-2: checksums.sha256 is missing" in complaints[1]
    assert find_newest(tmp_path) == torn
    assert newest_sound(tmp_path / "none") == (None, [])


def test_what_a_killed_process_left_is_cleared(tmp_path):
    whole = make(tmp_path, 1)
    (tmp_path / ".sfe-partial-checkpoint-2" / "state").mkdir(parents=True)
    (tmp_path / ".sfe-partial-a.png").touch()
    clear_remains(tmp_path)
    assert list(tmp_path.iterdir()) == [whole]


def test_torn_meta_is_named(tmp_path):
    folder = make(tmp_path, 1)
    (folder / META).write_text("{")
    with pytest.raises(RunError, match="meta.json"):
        read_meta(folder)
