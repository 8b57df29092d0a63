"""Finding, naming and pruning checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest

from sfe_core.errors import RunError, UserError
from sfe_core.files import write_json
from sfe_core.training.checkpoints import (
    META,
    CheckpointMeta,
    find_newest,
    list_checkpoints,
    newest_checkpoint,
    prune,
    read_meta,
    resolve_checkpoint,
)


def make(run: Path, step: int, saved_at: str = "2026-01-01T00:00:00+00:00") -> Path:
    folder = run / f"checkpoint-{step}"
    meta = CheckpointMeta(step, 8 * step, saved_at, "base", "b", "c", True)
    write_json(folder / META, meta.to_json())
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


def test_torn_meta_is_named(tmp_path):
    folder = make(tmp_path, 1)
    (folder / META).write_text("{")
    with pytest.raises(RunError, match="meta.json"):
        read_meta(folder)
