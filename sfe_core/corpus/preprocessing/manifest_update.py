"""The next manifest: the rows that stand, what the journal brings, labels, captions and splits.

Everything is streamed, twice: once to learn the columns and the status of every key, once to
write. What is held per photo is a few short strings.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from sfe_core.config.corpus_sections import PreprocessConfig
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.absent import as_if_there, as_missing, has_pictures, why_absent
from sfe_core.corpus.artefacts.hashes import (
    ArtefactHashes,
    artefact_hashes,
    parse_made_with,
)
from sfe_core.corpus.artefacts.kinds import ARTEFACTS, album_artefacts_of, artefacts_of
from sfe_core.corpus.inspection.album_expressions import AlbumExpressions
from sfe_core.corpus.inspection.crop_counts import CropCounts
from sfe_core.corpus.inspection.preview import choose_rows
from sfe_core.corpus.layout import MANIFEST
from sfe_core.corpus.manifest import COLUMNS, MISSING, OK, Row
from sfe_core.corpus.manifest_stream import ColumnTypes, stream_groups, write_rows
from sfe_core.corpus.people.face_vectors import embed_faces
from sfe_core.corpus.preprocessing.index import Annotations, Index, open_index
from sfe_core.corpus.preprocessing.journal import JournalIndex
from sfe_core.corpus.preprocessing.photos import Photos
from sfe_core.reporting import Reporter

_MOST_PROBLEMS = 10
# What some faces answer may raise the question of others: of folders within folders.
_TIMES_ASKED = 5


@dataclass
class ManifestCounts:
    """What a manifest holds."""

    index: Index
    status: Counter[str] = field(default_factory=Counter)
    split: Counter[str] = field(default_factory=Counter)  # of status ok, as the next
    emotion: Counter[str] = field(default_factory=Counter)
    fit_error_sum: float = 0.0
    problems: list[str] = field(default_factory=list)  # "photo: status, reason", the first few
    problem_count: int = 0
    notes: Counter[str] = field(default_factory=Counter)  # what was done to read photos
    absent: dict[str, str] = field(default_factory=dict)  # photo of status missing: why
    shown: list[Row] = field(default_factory=list)  # whole rows for the preview
    crops: CropCounts = field(default_factory=CropCounts)
    albums: AlbumExpressions = field(default_factory=AlbumExpressions)

    def add(self, row: Row, config: PreprocessConfig) -> None:
        """Count one row."""
        self.status[row["status"]] += 1
        if row.get("photo_notes") and (row.get("face_number") or 1) == 1:
            self.notes[row["photo_notes"]] += 1
        if row["status"] == OK:
            self.crops.add(row, config)
            self.split[row["split"]] += 1
            self.emotion[row["emotion"] or "unlabelled"] += 1
            self.albums.add(row)
            self.fit_error_sum += row["fit_error"] or 0.0
        elif row["status"] == MISSING:
            if row["photo"] not in self.absent:
                self.absent[row["photo"]] = row["reason"]
        else:
            self.problem_count += 1
            if len(self.problems) < _MOST_PROBLEMS:
                self.problems.append(f"{row['photo']}: {row['status']}, {row['reason']}")


def update_manifest(
    annotations: Annotations,
    photos: Photos,
    journal: Path,
    prune: bool = False,
    reporter: Reporter | None = None,
) -> ManifestCounts:
    """Write the manifest anew from the last one and the journal; remove pictures without a row.

    Doing it twice changes nothing, so a run that is killed meanwhile loses nothing.

    Args:
        annotations: of the workspace whose corpus it is; the corpus is held by this process.
        photos: those that have a place; others become missing, see `absent`.
        journal: the folder of the notes to take over.
        prune: forget the photos that are not there.
        reporter: have BLIP and recognisers look at new crops first, if the configuration asks
            for it, and show it; None takes what they said before.

    Raises:
        UserError: what is to look at crops is not there.
        RunError: the disk is full, or a crop cannot be read.
    """
    manifest = _NextManifest(annotations, photos, journal, prune)
    try:
        if reporter is not None:
            manifest.ask_models(reporter)
    finally:  # what is known stands, whatever the models run into
        counts = manifest.write()
    return counts


class _NextManifest:
    """The manifest to write: its rows are gone over once here, and once by `write`."""

    def __init__(
        self, annotations: Annotations, photos: Photos, journal: Path, prune: bool
    ) -> None:
        self._workspace, self._blip = annotations.workspace, annotations.blip
        self._emotions = annotations.emotions
        self._notes = JournalIndex(journal)
        self._refused, self._presence = photos.refused, photos.presence(prune)
        self._types = ColumnTypes()
        self._index = open_index(annotations, self._seen(self._rows(tidy=True)))
        for label in self._index.labels.by_key.values():
            self._types.see(label.extra)

    def ask_models(self, reporter: Reporter) -> None:
        """Have new crops captioned, and those faces compared that people are told by."""
        if self._emotions:
            self._emotions.read_new(map(self._index.complete, self._rows()), reporter)
        if self._blip:
            self._blip.caption_new(map(self._index.complete, self._rows()), reporter)
        for _ in range(_TIMES_ASKED):
            asked = self._index.sides.people.asked
            if not embed_faces(self._workspace, asked, self._rows, reporter):
                break
            self._index = self._index.with_new_vectors()

    def write(self) -> ManifestCounts:
        """Write it; what it holds."""
        counts, shown = ManifestCounts(self._index), _shown(self._index)

        def finished() -> Iterator[Row]:
            for row in map(self._index.complete, self._rows()):
                counts.add(row, self._workspace.config.preprocess)
                if row["key"] in shown and row["status"] == OK:
                    counts.shown.append(row)
                yield row

        write_rows(self._workspace.corpus / MANIFEST, finished(), self._types.schema())
        return counts

    def _seen(self, rows: Iterator[Row]) -> Iterator[Row]:
        """The rows, their columns noted as they go by."""
        for row in rows:
            self._types.see({name: value for name, value in row.items() if name in COLUMNS})
            yield row

    def _rows(self, tidy: bool = False) -> Iterator[Row]:
        """The rows as they stand now, ordered by photo, without labels, captions and splits.

        `tidy`: also remove the pictures that no row names any more.
        """
        joiner = _Joiner(self._workspace, self._notes.unfinished, tidy)
        presence = self._presence
        sources = heapq.merge(
            (
                (photo, 0, False, rows)
                for photo, rows in stream_groups(self._workspace.corpus / MANIFEST)
            ),
            ((photo, 1, partial, rows) for photo, partial, rows in self._notes.groups()),
            key=lambda source: source[:2],
        )

        def known(photo: str, group: list[tuple[str, int, bool, list[Row]]]) -> list[Row]:
            rows = joiner.joined(photo, group)
            if photo in presence.photos:
                return rows
            reason = why_absent(self._workspace.photos, photo)
            # Of one that never was read there is nothing to keep.
            return [as_missing(row, reason) for row in rows if row.get("photo_sha256")]

        places = (
            (photo, known(photo, list(group)))
            for photo, group in groupby(sources, key=lambda source: source[0])
            if photo in presence.photos or presence.is_kept(photo)
        )
        refused = sorted(self._refused, key=lambda row: row["photo"])
        others = ((row["photo"], [row]) for row in refused)
        for _, rows in heapq.merge(places, others, key=lambda place: place[0]):
            yield from rows


def _shown(index: Index) -> set[str]:
    """Keys of the faces that the preview shows."""
    labels = index.labels.by_key
    rows = [
        {"key": key, "emotion": labels[key].emotion if key in labels else None}
        for key in index.sides.splits
    ]
    return {row["key"] for row in choose_rows(rows)}


def remove_pictures(corpus: Path, key: str) -> None:
    """Remove every artefact of a key."""
    for kind in ARTEFACTS.values():
        kind.path(corpus, key).unlink(missing_ok=True)


class _Joiner:
    """Joins what the last manifest and the journal say of a photo."""

    def __init__(self, workspace: Workspace, unfinished: set[str], tidy: bool) -> None:
        config = workspace.config.preprocess
        self._corpus, self._unfinished, self._tidy = workspace.corpus, unfinished, tidy
        asked = (*artefacts_of(config), *album_artefacts_of(config))
        self._asked = frozenset(kind.name for kind in asked)
        self._current = artefact_hashes(config, workspace.root, of_all=True)

    def joined(self, photo: str, group: list[tuple[str, int, bool, list[Row]]]) -> list[Row]:
        """The rows of one photo; `group` holds (photo, 0 manifest or 1 journal, partial, rows)."""
        old = next((rows for _, source, _, rows in group if source == 0), [])
        old = [as_if_there(row) for row in old]
        old = [] if photo in self._unfinished else old
        new = next(((partial, rows) for _, source, partial, rows in group if source == 1), None)
        if new is None:
            return [self._without_outdated(row) for row in old]
        partial, rows = new
        if old and all(_unread(row) for row in rows):
            return [as_missing(row, rows[0]["reason"]) for row in old]
        before = {row["key"]: row for row in old}
        usable = {row["key"] for row in rows if row["status"] == OK}
        for key in {*before, *(row["key"] for row in rows)} - usable:
            self._remove(key, ARTEFACTS)
        return [
            self._without_outdated(self._over(before.get(row["key"]), row, partial)) for row in rows
        ]

    def _over(self, old: Row | None, new: Row, partial: bool) -> Row:
        """The new row; artefacts that it did not make are those of the old one, or are gone."""
        if old is None:
            return new
        made_before, made = (parse_made_with(row.get("made_with")) for row in (old, new))
        others = {name: by for name, by in made_before.items() if name not in made}
        if not partial:
            self._remove(new["key"], others)
            return new
        return old | new | {"made_with": ArtefactHashes(made | others).text}

    def _without_outdated(self, row: Row) -> Row:
        """The row without artefacts that nobody asks for any more and that no longer fit."""
        made_with = parse_made_with(row.get("made_with"))
        unasked = made_with.keys() & ARTEFACTS.keys() - self._asked
        if not has_pictures(row) or not unasked:
            return row
        current = self._current.of_photo(self._corpus, row["key"]).by_kind
        outdated = {name for name in unasked if made_with[name] != current[name]}
        if not outdated:
            return row
        self._remove(row["key"], outdated)
        left = {name: by for name, by in made_with.items() if name not in outdated}
        cleared = dict.fromkeys((ARTEFACTS[name].column for name in outdated), None)
        return row | cleared | {"made_with": ArtefactHashes(left).text}

    def _remove(self, key: str, kinds: Iterable[str]) -> None:
        if self._tidy:
            for name in kinds:
                if name in ARTEFACTS:
                    ARTEFACTS[name].path(self._corpus, key).unlink(missing_ok=True)


def _unread(row: Row) -> bool:
    """Whether a photo's bytes could not be read at all: they may be what they were."""
    return row["status"] == "unreadable" and not row.get("photo_sha256")
