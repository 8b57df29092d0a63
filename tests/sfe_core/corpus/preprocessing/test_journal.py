"""The journal survives what kills a run, and later notes count."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from sfe_core.corpus.preprocessing.journal import Journal, JournalIndex, next_run, shard_name
from sfe_core.errors import RunError


def row(photo: str, **more: object) -> dict[str, object]:
    return {"photo": photo, "key": photo.split(".", maxsplit=1)[0], "status": "ok", **more}


def test_rows_come_back_as_they_were_ordered_by_photo(tmp_path: Path) -> None:
    notes = Journal(tmp_path, shard_name(1, 0))
    notes.begin(["b.png", "a.png", "Zoë 顔.png"])
    faces = [row("b.png", yaw=0.1 + 0.2), row("b.png", yaw=math.nan)]
    notes.add([*faces, row("a.png", landmarks=np.arange(3) / 3, width=np.int64(7))], {"a.png"})
    notes.close()
    index = JournalIndex(tmp_path)
    (photo, partial, rows), (other, whole, two) = index.groups()
    assert (photo, partial, other, whole) == ("a.png", True, "b.png", False)
    assert rows == [row("a.png", landmarks=[0.0, 1 / 3, 2 / 3], width=7)]
    assert two[0] == faces[0] and math.isnan(two[1]["yaw"])
    assert index.unfinished == {"Zoë 顔.png"} and len(index) == 2
    assert "a.png" in index and "Zoë 顔.png" not in index


def test_later_runs_and_shards_override(tmp_path: Path) -> None:
    for run, yaw in ((1, 1.0), (12, 2.0)):
        assert next_run(tmp_path) == (1 if run == 1 else 2)
        notes = Journal(tmp_path, shard_name(run, 3))
        notes.begin(["a.png"])
        notes.add([row("a.png", yaw=yaw)])
        notes.close()
    assert next_run(tmp_path) == 13
    (group,) = JournalIndex(tmp_path).groups()
    assert group[2][0]["yaw"] == 2.0
    again = Journal(tmp_path, shard_name(13, 0))
    again.begin(["a.png"])  # its pictures may be a mixture from here on
    again.close()
    index = JournalIndex(tmp_path)
    assert list(index.groups()) == [] and index.unfinished == {"a.png"}


@pytest.mark.parametrize("cut", [1, 20, 45])
def test_torn_last_line_leaves_its_photo_unfinished(tmp_path: Path, cut: int) -> None:
    notes = Journal(tmp_path, "000001-0000")
    notes.begin(["a.png", "b.png"])
    notes.add([row("a.png")])
    notes.add([row("b.png", note="é")])
    notes.close()
    path = tmp_path / "000001-0000.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    index = JournalIndex(tmp_path)
    assert [photo for photo, _, _ in index.groups()] == ["a.png"]
    assert index.unfinished == {"b.png"}


def test_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be written"):
        Journal(tmp_path / "missing", "000001-0000")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_full_disk_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "000001-0000.jsonl").symlink_to("/dev/full")
    with pytest.raises(RunError, match="free space"):
        Journal(tmp_path, "000001-0000").begin(["a.png"])
