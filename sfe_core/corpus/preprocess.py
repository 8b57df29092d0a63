"""From photos to a corpus: plan what is new, take it in over several processes, keep the index.

The main process hashes, plans and writes the manifest; workers turn photos into pictures
(`photo_work`). What is done is known by the photo's bytes and the settings that shape pictures,
so a rerun repeats nothing; labels, captions and splits are read afresh every time.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from sfe_core.config.model import PreprocessConfig
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.captions import check_template
from sfe_core.corpus.index import complete_rows
from sfe_core.corpus.layout import (
    CANVAS,
    INPUTS,
    MANIFEST,
    MAP_FOLDERS,
    PREVIEW,
    artefact,
    find_photos,
)
from sfe_core.corpus.manifest import OK, plain_rows, read_manifest, to_frame, write_manifest
from sfe_core.corpus.photo_work import PhotoJob, Row, WorkOrder, pictures_of, work
from sfe_core.corpus.preview import write_preview
from sfe_core.errors import RunError, SfeError, UserError
from sfe_core.faces.head import ASSET_PATH
from sfe_core.files import key_of, sha256_file, sha256_json
from sfe_core.reporting import Reporter

# Raised when the same photo and settings would give other pictures than before.
RECIPE_VERSION = 1
_ORDER_SIZE = 16
_SAVE_EVERY_S = 30.0
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class PreprocessPlan:
    """What `preprocess` would do."""

    photo_count: int
    jobs: list[PhotoJob]  # to be taken in
    kept: list[Row]  # rows that stand, without labels, caption and split
    refused: list[Row]  # rows of photos that cannot have a place: duplicate keys, odd names
    stale: list[str]  # keys whose photo is gone
    workers: int
    config_hash: str


@dataclass(frozen=True)
class PreprocessSummary:
    """What `preprocess` did."""

    manifest: Path
    preview: Path | None  # None where no photo could be used
    status_counts: dict[str, int]  # over all photos
    split_counts: dict[str, int]
    emotion_counts: dict[str, int]  # of status ok
    done: int  # photos taken in by this call
    kept: int  # photos that stood from before
    labels_matched: int
    labels_unmatched: int  # lines of labels.csv without a photo
    captions_matched: int
    captions_unmatched: int
    mean_fit_error: float | None  # share of the inter-ocular distance
    seconds: float
    photos_per_second: float
    problems: list[str] = field(default_factory=list)  # "photo: status, reason", the first few


def picture_hash(config: PreprocessConfig) -> str:
    """Hash of everything but the photo that shapes a photo's pictures."""
    shaping = config.model_dump(exclude={"workers", "caption_template"})
    return sha256_json([RECIPE_VERSION, sha256_file(ASSET_PATH), shaping])[:16]


def plan_preprocess(workspace: Workspace) -> PreprocessPlan:
    """Find out what there is to do; writes nothing.

    Raises:
        UserError: no photos folder, no photo in it, or a caption template with odd placeholders.
    """
    config = workspace.config.preprocess
    check_template(config.caption_template)
    photos = find_photos(workspace.photos)
    if not photos:
        found = "holds no photo" if workspace.photos.is_dir() else "is no folder"
        raise UserError(
            workspace.photos, found, "put photos there (jpg, png, webp, …) or run `sfe synthesize`"
        )
    config_hash = picture_hash(config)
    before = _rows_before(workspace)
    refused, candidates = _name(photos, workspace.photos)
    kept, jobs = [], []
    with ThreadPoolExecutor(_workers(config)) as threads:
        hashes = list(threads.map(_hash_or_empty, (path for path, _, _ in candidates)))
    for (path, photo, key), sha256 in zip(candidates, hashes, strict=True):
        row = before.get(photo)
        if row is not None and _stands(row, sha256, config_hash, workspace.corpus, config):
            kept.append(row)
        else:
            jobs.append(PhotoJob(path, photo, key, sha256))
    present = {key for _, _, key in candidates}
    stale = sorted({row["key"] for row in before.values()} - present)
    workers = min(_workers(config), max(1, -(-len(jobs) // _ORDER_SIZE)))
    return PreprocessPlan(len(photos), jobs, kept, refused, stale, workers, config_hash)


def preprocess(workspace: Workspace, reporter: Reporter | None = None) -> PreprocessSummary:
    """Bring the corpus up to date with the photos, labels and captions.

    Interrupted, it leaves what is done in the manifest; the next call goes on from there.

    Raises:
        UserError: bad photos folder, labels, captions or template; a model that is not there.
        RunError: a worker died, or the disk is full.
    """
    reporter = reporter or Reporter()
    began = time.monotonic()
    plan = plan_preprocess(workspace)
    complete_rows(workspace, plan.kept + plan.refused)  # bad labels are told before the work
    for key in plan.stale:
        _remove_pictures(workspace.corpus, key)
    fresh = _take_in(workspace, plan, reporter)
    for row in fresh:
        if row["status"] != OK:
            _remove_pictures(workspace.corpus, row["key"])
    rows, counts = complete_rows(workspace, plan.kept + plan.refused + fresh)
    write_manifest(workspace.corpus / MANIFEST, to_frame(rows))
    usable = [row for row in rows if row["status"] == OK]
    preview = workspace.corpus / PREVIEW if usable else None
    if preview:
        limit = workspace.config.preprocess.max_megapixels
        write_preview(preview, workspace.corpus, workspace.photos, usable, limit)
    seconds = time.monotonic() - began
    errors = [row["fit_error"] for row in usable]
    failed = [row for row in rows if row["status"] != OK]
    return PreprocessSummary(
        manifest=workspace.corpus / MANIFEST,
        preview=preview,
        status_counts=dict(Counter(row["status"] for row in rows).most_common()),
        split_counts=dict(Counter(row["split"] for row in usable).most_common()),
        emotion_counts=dict(Counter(row["emotion"] or "unlabelled" for row in usable)),
        done=len(fresh),
        kept=len(plan.kept),
        labels_matched=counts.labels_matched,
        labels_unmatched=counts.labels_unmatched,
        captions_matched=counts.captions_matched,
        captions_unmatched=counts.captions_unmatched,
        mean_fit_error=sum(errors) / len(errors) if errors else None,
        seconds=seconds,
        photos_per_second=len(fresh) / max(seconds, 1e-9),
        problems=[f"{row['photo']}: {row['status']}, {row['reason']}" for row in failed[:10]],
    )


def _workers(config: PreprocessConfig) -> int:
    return config.workers or os.cpu_count() or 1


def _rows_before(workspace: Workspace) -> dict[str, Row]:
    """The manifest's rows by photo; none where there is no manifest, or only an unreadable one."""
    path = workspace.corpus / MANIFEST
    if not path.is_file():
        return {}
    try:
        return {row["photo"]: row for row in plain_rows(read_manifest(path))}
    except SfeError:
        return {}  # torn or of an older version: everything is made again


def _name(photos: Iterable[Path], folder: Path) -> tuple[list[Row], list[tuple[Path, str, str]]]:
    """Rows of photos that cannot have a key of their own, and (path, photo, key) of the others."""
    refused: list[Row] = []
    named: list[tuple[Path, str, str]] = []
    holder: dict[str, str] = {}
    for path in photos:
        photo, key = path.relative_to(folder).as_posix(), key_of(path, folder)
        try:
            photo.encode("utf-8")
        except UnicodeEncodeError:
            shown = photo.encode("utf-8", "backslashreplace").decode()
            reason = "the file's name is not UTF-8: rename it"
            refused.append({"key": shown, "photo": shown, "status": "unreadable", "reason": reason})
            continue
        if key in holder:
            reason = f"{holder[key]} has the same key: rename one of them"
            refused.append(
                {"key": key, "photo": photo, "status": "duplicate_key", "reason": reason}
            )
            continue
        holder[key] = photo
        named.append((path, photo, key))
    return refused, named


def _hash_or_empty(path: Path) -> str:
    try:
        return sha256_file(path)
    except OSError:
        return ""  # the worker says why it cannot be read


def _stands(
    row: Row, sha256: str, config_hash: str, corpus: Path, config: PreprocessConfig
) -> bool:
    """Whether a row of the last manifest still holds."""
    if row["photo_sha256"] != sha256 or not sha256 or row["config_hash"] != config_hash:
        return False
    if row["status"] == OK:
        return all(path.is_file() for path in pictures_of(corpus, row["key"], config))
    return row["status"] not in ("failed", "duplicate_key")


def _take_in(workspace: Workspace, plan: PreprocessPlan, reporter: Reporter) -> list[Row]:
    """Work the plan's jobs off; the manifest is saved now and then, and if work is cut short."""
    fresh: list[Row] = []
    saved_at = time.monotonic()
    if not plan.jobs:
        return fresh

    def save() -> None:
        rows, _ = complete_rows(workspace, plan.kept + plan.refused + fresh)
        write_manifest(workspace.corpus / MANIFEST, to_frame(rows))

    try:
        with reporter.task("preprocess", len(plan.jobs)) as task:
            for rows in _results(_orders(workspace, plan), plan.workers):
                fresh += rows
                usable = sum(row["status"] == OK for row in fresh)
                task.advance(len(rows), f"{usable} usable")
                if time.monotonic() - saved_at > _SAVE_EVERY_S:
                    save()
                    saved_at = time.monotonic()
    except BaseException:
        # Stopped before the first photo (a model is missing): the manifest that stands still holds.
        if fresh:
            save()
        raise
    return fresh


def _orders(workspace: Workspace, plan: PreprocessPlan) -> Iterator[WorkOrder]:
    # Small orders at the end of a small set keep all workers busy.
    size = max(1, min(_ORDER_SIZE, len(plan.jobs) // (2 * plan.workers)))
    for first in range(0, len(plan.jobs), size):
        jobs = tuple(plan.jobs[first : first + size])
        config = workspace.config.preprocess
        yield WorkOrder(jobs, workspace.corpus, config, plan.config_hash)


def _results(orders: Iterator[WorkOrder], workers: int) -> Iterator[list[Row]]:
    """Rows of the orders, as they come; never more than two orders per worker under way."""
    if workers == 1:
        yield from map(work, orders)
        return
    with _single_threaded_children():
        pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
        pending: set[Future[list[Row]]] = set()
        try:
            for order in orders:
                pending.add(pool.submit(work, order))
                if len(pending) >= 2 * workers:
                    finished, pending = wait(pending, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in finished)
            while pending:
                finished, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in finished)
        except BrokenProcessPool as error:
            raise RunError(
                "preprocess",
                "a worker process died, often for lack of memory",
                "run it again with fewer: --set preprocess.workers=1",
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _single_threaded_children() -> Iterator[None]:
    """Processes started inside use one thread each for their linear algebra."""
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _remove_pictures(corpus: Path, key: str) -> None:
    for folder in (INPUTS, CANVAS, *MAP_FOLDERS.values()):
        artefact(corpus, folder, key).unlink(missing_ok=True)
