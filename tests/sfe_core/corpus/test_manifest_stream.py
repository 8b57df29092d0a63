"""Streamed manifests hold what tables hold, in the same types."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest

from sfe_core.corpus.manifest import COLUMNS, plain_rows, read_manifest, to_frame, write_manifest
from sfe_core.corpus.manifest_stream import (
    ColumnTypes,
    stream_groups,
    stream_manifest,
    write_rows,
)

ROWS = [
    {
        "key": f"k{number:04d}",
        "photo": f"k{number:04d}.png",
        "status": "ok" if number % 3 else "no_face",
        "made_with": '{"face":"1"}',
        "photo_sha256": "ab",
        "width": 640 if number % 3 else None,
        "landmarks": [0.1 * number, 2.0] if number % 3 else None,
        "yaw": math.nan if number % 5 == 0 else number / 7,
        "caption": "a face, é",
        "label_AU12": float(number) if number % 2 else None,
        "label_note": "x" if number % 2 else 3.0,
    }
    for number in range(600)
]


def written(path: Path, rows: list[dict]) -> Path:
    types = ColumnTypes()
    for row in rows:
        types.see(row)
    write_rows(path, iter(rows), types.schema())
    return path


def test_reads_like_a_manifest_written_at_once(tmp_path: Path) -> None:
    rows = [{name: value for name, value in row.items() if name != "label_note"} for row in ROWS]
    write_manifest(tmp_path / "table.parquet", to_frame(rows))
    table = read_manifest(tmp_path / "table.parquet")
    streamed = read_manifest(written(tmp_path / "streamed.parquet", rows))
    assert list(streamed) == list(table) == [*COLUMNS, "label_AU12"]
    assert streamed.dtypes.equals(table.dtypes)
    assert plain_rows(streamed) == plain_rows(table)


def test_rows_stream_back_with_missing_ones_as_none(tmp_path: Path) -> None:
    path = written(tmp_path / "m.parquet", ROWS)
    rows = list(stream_manifest(path))
    assert len(rows) == 600 and rows[0]["yaw"] is None and rows[0]["width"] is None
    assert rows[1]["landmarks"] == [0.1, 2.0] and rows[1]["width"] == 640
    # Columns of several kinds are text, which a table could not have been written with.
    assert (rows[0]["label_note"], rows[1]["label_note"]) == ("3.0", "x")
    some = list(stream_manifest(path, ("key", "yaw", "nothing of the kind")))
    assert some[2] == {"key": "k0002", "yaw": 2 / 7}


def test_same_rows_same_bytes(tmp_path: Path) -> None:
    one = written(tmp_path / "1.parquet", ROWS).read_bytes()
    assert one == written(tmp_path / "2.parquet", ROWS).read_bytes()


def test_faces_of_one_photo_come_together(tmp_path: Path) -> None:
    rows = [ROWS[1], ROWS[2], {**ROWS[2], "key": "k0002#2"}]
    groups = list(stream_groups(written(tmp_path / "m.parquet", rows)))
    assert [(photo, len(held)) for photo, held in groups] == [("k0001.png", 1), ("k0002.png", 2)]


@pytest.mark.parametrize("content", [None, b"PAR1 torn", b""])
def test_missing_or_torn_manifests_have_no_rows(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "m.parquet").write_bytes(content)
    assert list(stream_manifest(tmp_path / "m.parquet")) == []


def test_manifests_of_another_layout_have_no_rows(tmp_path: Path) -> None:
    pd.DataFrame({"photo": ["a.png"], "old": [1]}).to_parquet(tmp_path / "m.parquet")
    assert list(stream_manifest(tmp_path / "m.parquet")) == []


def test_empty_manifest_has_every_column(tmp_path: Path) -> None:
    frame = read_manifest(written(tmp_path / "m.parquet", []))
    assert list(frame) == list(COLUMNS) and len(frame) == 0
