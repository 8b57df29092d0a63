"""The rows that the models gave, on their way into the journal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from sfe_core.corpus.artefact_hashes import ArtefactHashes
from sfe_core.corpus.journal import Journal, Row
from sfe_core.corpus.photo_work import PhotoJob


def note_rows(
    notes: Journal,
    hashes: ArtefactHashes,
    corpus: Path,
    jobs: Iterable[PhotoJob],
    rows: Sequence[Row],
) -> None:
    """Say what made the rows, and journal them.

    Args:
        notes: the shard's journal.
        hashes: of the configuration.
        corpus: its folder.
        jobs: whose rows they are.
        rows: all rows of these jobs; added to.
    """
    by_photo = {job.photo: job for job in jobs}
    for row in rows:
        job = by_photo[row["photo"]]
        row["made_with"] = hashes.of_photo(corpus, row["key"]).text
        if job.wanted is not None and row["photo_sha256"] != job.sha256:
            # The faces that are known are those of the photo as it was.
            row["status"] = "failed"
            row["reason"] = "the photo changed while it was at work; the next run takes it anew"
    notes.add(rows, {job.photo for job in by_photo.values() if job.wanted is not None})
