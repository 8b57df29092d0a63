from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from sfe_core.files import TEMPORARY_MARK, atomic_path, clear_leftovers


def test_a_file_or_folder_appears_whole_or_not_at_all(tmp_path: Path):
    with pytest.raises(ValueError), atomic_path(tmp_path / "a.txt") as partial:
        partial.write_text("half")
        raise ValueError
    with pytest.raises(ValueError), atomic_path(tmp_path / "folder") as partial:
        partial.mkdir()
        (partial / "half").touch()
        raise ValueError
    assert list(tmp_path.iterdir()) == []
    with atomic_path(tmp_path / "folder") as partial:
        partial.mkdir()
        (partial / "whole").touch()
        assert not (tmp_path / "folder").exists()
    assert [path.name for path in tmp_path.rglob("*")] == ["folder", "whole"]


def test_only_what_no_one_has_written_to_for_an_hour_is_cleared(tmp_path: Path):
    long_ago = time.time() - 2 * 3600
    old, busy = tmp_path / f"{TEMPORARY_MARK}1-old", tmp_path / f"{TEMPORARY_MARK}2-busy"
    for folder in (old, busy):
        folder.mkdir()
        (folder / "weights").write_text("half")
        os.utime(folder, (long_ago, long_ago))
    os.utime(old / "weights", (long_ago, long_ago))
    old_file, mine = tmp_path / f"{TEMPORARY_MARK}3-report.html", tmp_path / "report.html"
    for path in (old_file, mine):
        path.touch()
        os.utime(path, (long_ago, long_ago))
    clear_leftovers(tmp_path)
    clear_leftovers(tmp_path / "nowhere")
    assert {path.name for path in tmp_path.iterdir()} == {busy.name, mine.name}
