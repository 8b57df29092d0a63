"""Hashes of faces that were taken in before faces were hashed, from their stored crops."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from joblib import cpu_count

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.layout import MANIFEST
from sfe_core.corpus.manifest import OK, WITH_PICTURES, Row
from sfe_core.corpus.manifest_stream import stream_groups, stream_manifest
from sfe_core.corpus.people.face_hash import stored_face_hash
from sfe_core.corpus.picture_store import FolderStore
from sfe_core.corpus.preprocessing.journal import Journal, JournalIndex, next_run, shard_name
from sfe_core.reporting import Reporter

_ROWS_AT_ONCE = 256


def hash_stored_crops(workspace: Workspace, journal: Path, reporter: Reporter) -> None:
    """Journal the hashes of faces that stand from before and have none, if copies are looked for.

    Raises:
        RunError: the disk is full.
    """
    manifest = workspace.corpus / MANIFEST
    photos = _without_hash(manifest) if workspace.config.split.copies == "near" else set()
    noted = JournalIndex(journal)
    photos = {photo for photo in photos if photo not in noted}
    if not photos:
        return
    store = FolderStore(workspace.corpus)
    groups = (rows for photo, rows in stream_groups(manifest) if photo in photos)
    notes = Journal(journal, shard_name(next_run(journal), 0))
    try:
        with (
            reporter.task("hash the faces", len(photos)) as task,
            ThreadPoolExecutor(cpu_count()) as threads,
        ):
            while some := list(islice(groups, _ROWS_AT_ONCE)):
                rows = [row for group in some for row in group]
                found = threads.map(lambda row: stored_face_hash(store, row), rows)
                notes.add(_noted(rows, found), photos)
                task.advance(len(some))
    finally:
        notes.close()


def _without_hash(manifest: Path) -> set[str]:
    """Photos with a face that has pictures and no hash, and with none that has no pictures."""
    lacking, failed = set[str](), set[str]()
    for row in stream_manifest(manifest, ("photo", "status", "face_hash")):
        if row["status"] not in WITH_PICTURES:
            failed.add(row["photo"])
        elif row.get("face_hash") is None:
            lacking.add(row["photo"])
    return lacking - failed


def _noted(rows: list[Row], hashes: Iterator[str]) -> list[Row]:
    """Rows that go over the earlier ones; their status is judged anew from the measures."""
    return [
        {"key": row["key"], "photo": row["photo"], "status": OK, "reason": "", "face_hash": found}
        for row, found in zip(rows, hashes, strict=True)
    ]
