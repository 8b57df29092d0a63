"""What preprocess has to do: which photos are new, which artefacts of the others are wanted."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from joblib import cpu_count

from sfe_core.config.corpus_sections import PreprocessConfig
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.absent import Presence, as_if_there
from sfe_core.corpus.artefacts.given_maps import is_away
from sfe_core.corpus.artefacts.hashes import FACE, ArtefactHashes, artefact_hashes, parse_made_with
from sfe_core.corpus.artefacts.kinds import artefacts_of
from sfe_core.corpus.layout import MANIFEST
from sfe_core.corpus.manifest import MISSING, WITH_PICTURES, Row, crop_of
from sfe_core.corpus.manifest_stream import stream_groups, stream_manifest
from sfe_core.corpus.preprocessing.photo_jobs import PhotoJob, faces_of_rows
from sfe_core.corpus.preprocessing.photos import Photos
from sfe_core.corpus.preprocessing.placement import place_preprocess
from sfe_core.faces.crop_choice import fills_photo
from sfe_core.files import sha256_file
from sfe_core.processes.placement import Placement

BATCH_SIZE = 16
# Rows that are tried again whenever there is a run: what reads a photo may be there by now.
_RETRIED = ("failed", "unreadable", "duplicate_key", MISSING)
# Rows from before faces were looked for at every angle stand where the detector was as sure, and
# the face as upright, as this.
_FACELESS = ("no_face", "face_too_small")
_SURE_SCORE, _MOST_ROLL = 0.5, 25.0


class _Before(NamedTuple):
    """What planning must know of a row of the last manifest."""

    key: str
    status: str
    sha256: str
    made_with: str
    fills_photo: bool  # and was cropped by a rule that takes no note of that
    is_sure: bool  # of its face; rows from before there was a confidence may be of none


@dataclass(frozen=True)
class PreprocessPlan:
    """What `preprocess` would do."""

    jobs: list[PhotoJob]  # to be taken in, ordered by photo
    kept: list[str]  # photos whose rows and pictures stand
    stale: list[str]  # keys whose photo is gone for good: pruned, or another has its place
    absent: list[str]  # photos that cannot be seen just now, whose rows are kept
    renders_away: list[str]  # keys whose given render cannot be seen just now
    photos: Photos
    device: str  # cpu or cuda
    workers: int
    hashes: ArtefactHashes


def plan_preprocess(
    workspace: Workspace,
    placement: Placement | None = None,
    prune: bool = False,
    photos: Photos | None = None,
) -> PreprocessPlan:
    """Find out what there is to do; writes nothing.

    Args:
        workspace: whose photos.
        placement: the devices; None means `place_preprocess` without a choice of the user's.
        prune: forget the photos that are not there; otherwise their rows are kept.
        photos: as found; None looks for them now.

    Raises:
        UserError: see `Photos.find`.
    """
    config = workspace.config.preprocess
    placement = placement or place_preprocess(config)
    photos = Photos.find(workspace) if photos is None else photos
    hashes = artefact_hashes(config, workspace.root)
    before = _rows_before(workspace.corpus / MANIFEST)
    kept, jobs, renders_away = [], [], list[str]()
    with ThreadPoolExecutor(cpu_count()) as threads:
        # Photos that were never seen are hashed when they are decoded.
        known = (file.path if file.photo in before else None for file in photos.files)
        for file, sha256 in zip(photos.files, threads.map(_hash_or_empty, known), strict=True):
            rows = before.get(file.photo, [])
            if is_away(workspace.corpus, file.key):
                renders_away.append(file.key)
                if rows and all(row.sha256 == sha256 for row in rows):
                    kept.append(file.photo)
                    continue
            made = hashes.of_photo(workspace.corpus, file.key)
            wanted = _wanted(rows, sha256, made, workspace.corpus, config)
            if wanted is not None and not wanted:
                kept.append(file.photo)
            else:
                jobs.append(PhotoJob(file.path, file.photo, file.key, sha256, wanted))
    absent, stale = _absent_and_stale(before, photos.presence(prune))
    workers = useful_workers(placement.processes, len(jobs))
    return PreprocessPlan(
        jobs, kept, stale, absent, renders_away, photos, placement.device, workers, hashes
    )


def _absent_and_stale(
    before: dict[str, list[_Before]], presence: Presence
) -> tuple[list[str], list[str]]:
    """Photos whose rows are kept though they are not there, and keys whose rows are not."""
    gone = before.keys() - presence.photos - presence.refused
    absent = sorted(
        photo
        for photo in gone
        if presence.is_kept(photo) and any(row.sha256 for row in before[photo])
    )
    lost = {row.key for photo in gone.difference(absent) for row in before[photo]}
    return absent, sorted(lost - presence.keys)


def with_known_faces(jobs: Iterable[PhotoJob], manifest: Path) -> Iterator[PhotoJob]:
    """The jobs, those that want some artefacts only with the faces found before.

    Args:
        jobs: ordered by photo.
        manifest: that of the last run; read alongside, not into memory.
    """
    groups: Iterator[tuple[str, list[Row]]] = iter(())
    at, rows = "", list[Row]()
    opened = False
    for job in jobs:
        if job.wanted is None:
            yield job
            continue
        if not opened:
            groups, opened = stream_groups(manifest), True
        while at < job.photo:
            at, rows = next(groups, ("\U0010ffff", []))
        known = faces_of_rows(rows) if at == job.photo else None
        yield replace(job, known=known) if known else replace(job, wanted=None)


def useful_workers(processes: int, jobs: int) -> int:
    """Of so many processes those that have a batch of the photos to do; one at least."""
    return min(processes, max(1, -(-jobs // BATCH_SIZE)))


def batch_size(jobs: Sequence[PhotoJob], workers: int) -> int:
    """Photos per batch: small ones at the end of a small set keep all workers busy."""
    return max(1, min(BATCH_SIZE, len(jobs) // (2 * workers)))


def _rows_before(manifest: Path) -> dict[str, list[_Before]]:
    """What the last manifest says, by photo; nothing where there is none, or a torn one."""
    square = ("width", "height", "crop_x", "crop_y", "crop_side", "crop_rule", "angle")
    face = ("detection_score", "confidence", "roll")
    columns = (
        "photo",
        "key",
        "status",
        "photo_sha256",
        "made_with",
        "inputs_sha256",
        *square,
        *face,
    )
    before: dict[str, list[_Before]] = {}
    for row in stream_manifest(manifest, columns):
        row = as_if_there(row)
        made_with = sys.intern(row["made_with"] or "")  # the same text in nearly all rows
        status, sha256 = sys.intern(row["status"]), row["photo_sha256"] or ""
        before.setdefault(row["photo"], []).append(
            _Before(row["key"], status, sha256, made_with, _fills_photo(row), _is_sure(row))
        )
    return before


def _fills_photo(row: Row) -> bool:
    """Whether a row is from before faces that fill their photo were taken as they are."""
    if row.get("crop_rule") or row.get("crop_side") is None:
        return False
    return fills_photo(crop_of(row), row["width"], row["height"])


def _is_sure(row: Row) -> bool:
    """Whether a row has a confidence, or would have a high one: it is not looked at again."""
    if row.get("confidence") is not None or row["status"] not in (*WITH_PICTURES, *_FACELESS):
        return True
    score, roll = row.get("detection_score"), row.get("roll")
    return score is not None and score >= _SURE_SCORE and abs(roll or 0.0) <= _MOST_ROLL


def _hash_or_empty(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return sha256_file(path)
    except OSError:
        return ""  # the worker says why it cannot be read


def _wanted(
    rows: Sequence[_Before],
    sha256: str,
    hashes: ArtefactHashes,
    corpus: Path,
    config: PreprocessConfig,
) -> frozenset[str] | None:
    """The artefact kinds to make: none where all stands, None where the face is to be found too."""
    if not rows or not sha256:
        return None
    wanted: set[str] = set()
    for row in rows:
        made_with = parse_made_with(row.made_with)
        if row.sha256 != sha256 or row.status in _RETRIED:
            return None
        if made_with.get(FACE) != hashes.by_kind[FACE]:
            return None
        if row.fills_photo and config.tight_photos == "as-is":
            return None
        if not row.is_sure:
            return None
        if row.status in WITH_PICTURES:
            wanted |= {
                kind.name
                for kind in artefacts_of(config)
                if made_with.get(kind.name) != hashes.by_kind[kind.name]
                or not kind.path(corpus, row.key).is_file()
            }
    return frozenset(wanted)
