"""From photos to a corpus: plan what is wanted, take it in over several processes, keep the index.

The main process plans and writes the manifest; workers turn photos into pictures (`photo_work`).
What is done is known by the photo's bytes and the settings that shape each artefact, so a rerun
repeats nothing; labels, captions and splits are read afresh every time. Every finished photo is
in the journal at once, so that a killed run loses only what was under way.
"""

from __future__ import annotations

import csv
import time
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from sfe_core.assets import locate
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.absent import told
from sfe_core.corpus.artefacts.kinds import ARTEFACTS
from sfe_core.corpus.inspection.preview import write_preview
from sfe_core.corpus.inspection.report import write_report
from sfe_core.corpus.layout import MANIFEST, PASSED_OVER, PREVIEW
from sfe_core.corpus.lock import close_journal, corpus_lock, sweep_partials
from sfe_core.corpus.manifest import OK
from sfe_core.corpus.manifest_stream import stream_manifest
from sfe_core.corpus.people.sides import Sides
from sfe_core.corpus.preprocessing.hash_stored import hash_stored_crops
from sfe_core.corpus.preprocessing.index import Annotations, open_index
from sfe_core.corpus.preprocessing.journal import Journal, JournalIndex, next_run, shard_name
from sfe_core.corpus.preprocessing.manifest_update import (
    ManifestCounts,
    remove_pictures,
    update_manifest,
)
from sfe_core.corpus.preprocessing.mean_shapes import draw_mean_shapes
from sfe_core.corpus.preprocessing.photo_jobs import WorkSettings
from sfe_core.corpus.preprocessing.photos import Photos
from sfe_core.corpus.preprocessing.placement import place_preprocess
from sfe_core.corpus.preprocessing.plan import (
    PreprocessPlan,
    batch_size,
    plan_preprocess,
    with_known_faces,
)
from sfe_core.corpus.preprocessing.pool import HIDDEN_GPUS, environment, rows_of_batches
from sfe_core.corpus.preprocessing.shard import decode_threads, note_rows, work_shard
from sfe_core.corpus.preprocessing.shard_worker import launch_shards
from sfe_core.errors import SfeError, UserError
from sfe_core.files import atomic_path
from sfe_core.processes.placement import Placement
from sfe_core.reporting import Reporter
from sfe_core.text_window import TextWindow
from sfe_core.wording import listed

__all__ = ["PreprocessPlan", "PreprocessSummary", "plan_preprocess", "preprocess"]


@dataclass(frozen=True)
class PreprocessSummary:
    """What `preprocess` did."""

    manifest: Path
    preview: Path | None  # None where no photo could be used
    report: Path
    status_counts: dict[str, int]  # over all rows
    split_counts: dict[str, int]
    emotion_counts: dict[str, int]  # of status ok
    done: int  # photos taken in by this call
    kept: int  # photos that stood from before
    labels_matched: int
    labels_unmatched: int  # lines of labels.csv without a photo
    label_scheme: str | None  # whose numbers its emotions were; None where they were names
    captions_matched: int
    captions_unmatched: int
    captions_cut: str | None  # those longer than the base model's text encoder reads, in words
    mean_fit_error: float | None  # share of the inter-ocular distance
    seconds: float
    photos_per_second: float
    sides: Sides  # who stands with whom
    pruned: list[str]  # keys whose rows and pictures this call removed
    passed_over: list[str]  # files that are not photos, in words by kind
    passed_over_list: Path | None  # every one of them; None where there is none
    notes: dict[str, int]  # what was done to photos to read them
    problems: list[str] = field(default_factory=list)  # "photo: status, reason", the first few
    problem_count: int = 0


def preprocess(
    workspace: Workspace,
    reporter: Reporter | None = None,
    gpus: int | None = None,
    cpu_processes: int | None = None,
    prune: bool = False,
) -> PreprocessSummary:
    """Bring the corpus up to date with the photos, labels and captions.

    Interrupted, it leaves what is done; the next call goes on from there.

    Args:
        workspace: whose photos.
        reporter: shown the progress.
        gpus, cpu_processes: the devices, see `place_preprocess`.
        prune: forget the photos that are not there, with their pictures; otherwise they are kept.

    Raises:
        UserError: bad photos folder, labels, captions or template; a model or GPU that is not
            there.
        RunError: another run is at work, a worker died, or the disk is full.
    """
    reporter = reporter or Reporter()
    began = time.monotonic()
    placement = place_preprocess(workspace.config.preprocess, gpus, cpu_processes)
    photos = Photos.find(workspace)
    # What is wrong with labels or captions is told before anything is written.
    annotations = read_annotations(workspace, photos, reporter)
    with corpus_lock(workspace.corpus) as journal:
        _recover(annotations, photos, journal, reporter)
        plan = plan_preprocess(workspace, placement, prune, photos)
        for key in plan.stale:
            remove_pictures(workspace.corpus, key)
        try:
            _take_in(workspace, plan, placement, journal, reporter)
        except BaseException:
            # With nothing done, the manifest that stands still holds.
            if len(JournalIndex(journal)):
                with suppress(SfeError):  # what stopped the work may stop this; the journal stays
                    update_manifest(annotations, photos, journal, prune)
                    close_journal(journal)
            raise
        hash_stored_crops(workspace, journal, reporter)
        counts = update_manifest(annotations, photos, journal, prune, reporter)
        if draw_mean_shapes(workspace, journal, placement.device, reporter):
            counts = update_manifest(annotations, photos, journal, prune)
        _tell_of(counts, plan, reporter)
        preview = _preview(workspace, counts)
        report = write_report(workspace)
        close_journal(journal)
    seconds = time.monotonic() - began
    return _summary(workspace, plan, counts, preview, report, seconds)


def read_annotations(workspace: Workspace, photos: Photos, reporter: Reporter) -> Annotations:
    """Read labels and captions, and say what a person should know of them.

    Raises:
        UserError: see `Annotations.read`, `open_index`.
    """
    annotations = Annotations.read(workspace, photos.scan.texts)
    index = open_index(annotations, ({"key": file.key, "status": ""} for file in photos.files))
    if index.said:
        reporter.say(index.said)
    for note in index.notes:
        reporter.warn(note)
    return annotations


def _recover(annotations: Annotations, photos: Photos, journal: Path, reporter: Reporter) -> None:
    """Take over what a killed run had done, and remove what it had half done."""
    if not any(journal.glob("*.jsonl")):
        return
    corpus = annotations.workspace.corpus
    sweep_partials(corpus, {corpus / kind.folder for kind in ARTEFACTS.values()})
    update_manifest(annotations, photos, journal)
    for path in journal.glob("*.jsonl"):
        path.unlink()
    reporter.say("the last run was cut short: what it had done is taken over")


def _take_in(
    workspace: Workspace,
    plan: PreprocessPlan,
    placement: Placement,
    journal: Path,
    reporter: Reporter,
) -> None:
    """Have the plan's jobs done by a launcher's processes, a pool's, or this one."""
    if not plan.jobs:
        return
    config, run = workspace.config.preprocess, next_run(journal)
    workers = plan.workers
    settings = WorkSettings(workspace.corpus, config, plan.hashes, decode_threads(workers))
    with reporter.task("preprocess", len(plan.jobs)) as task:
        if placement.device == "cuda" and workers > 1:
            launch_shards(settings, plan.jobs, placement, run, journal, reporter, task)
            return
        jobs = with_known_faces(plan.jobs, workspace.corpus / MANIFEST)
        notes = Journal(journal, shard_name(run, 0))
        try:
            if workers == 1:
                with environment(**HIDDEN_GPUS if placement.device == "cpu" else {}):
                    work_shard(settings, jobs, notes, task)
                return
            size, usable = batch_size(plan.jobs, workers), 0
            batches = iter(lambda: tuple(islice(jobs, size)), ())
            for batch, rows in rows_of_batches(
                settings,
                batches,
                workers,
                journal,
                lambda some: notes.begin([job.photo for job in some]),
            ):
                note_rows(settings, batch, rows, notes)
                usable += sum(row["status"] == OK for row in rows)
                task.advance(len(batch), f"{usable} usable")
        finally:
            notes.close()


def _tell_of(counts: ManifestCounts, plan: PreprocessPlan, reporter: Reporter) -> None:
    """What a person should know of the photos once they are taken in."""
    if counts.absent:
        reporter.warn(told(counts.absent.values()))
    if plan.renders_away:
        reporter.warn(
            f"{len(plan.renders_away)} given renders below maps/ cannot be seen just now "
            f"({listed(plan.renders_away, 3)}): known photos stand as they are, new ones are "
            "rendered from the fitted head"
        )
    for sentence in counts.crops.told():
        reporter.warn(sentence)
    for sentence in counts.albums.told():
        reporter.say(sentence)


def _preview(workspace: Workspace, counts: ManifestCounts) -> Path | None:
    if not counts.shown:
        return None
    preview = workspace.corpus / PREVIEW
    limit = workspace.config.preprocess.max_megapixels
    write_preview(preview, workspace.corpus, workspace.photos, counts.shown, limit)
    return preview


def _captions_cut(workspace: Workspace) -> str | None:
    """The faces' captions that are too long for the base model, where that is on this machine."""
    try:
        window = TextWindow.of_pipeline(locate(workspace.config.model.base))
    except UserError:
        return None
    rows = stream_manifest(workspace.corpus / MANIFEST, ("key", "status", "caption"))
    texts = (row["caption"] for row in rows if row["status"] == OK and row.get("caption"))
    return window.told(texts, "caption") if window else None


def _list_passed_over(workspace: Workspace, plan: PreprocessPlan) -> Path | None:
    """Write the list of the files that are not photos; no list where there is none."""
    target = workspace.corpus / PASSED_OVER
    if not plan.photos.scan.told:
        target.unlink(missing_ok=True)
        return None
    with atomic_path(target) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("file", "what it is"))
        writer.writerows(plan.photos.scan.passed)
    return target


def _summary(
    workspace: Workspace,
    plan: PreprocessPlan,
    counts: ManifestCounts,
    preview: Path | None,
    report: Path,
    seconds: float,
) -> PreprocessSummary:
    usable = counts.status[OK]
    return PreprocessSummary(
        manifest=workspace.corpus / MANIFEST,
        preview=preview,
        report=report,
        status_counts=dict(counts.status.most_common()),
        split_counts=dict(counts.split.most_common()),
        emotion_counts=dict(counts.emotion),
        done=len(plan.jobs),
        kept=len(plan.kept),
        labels_matched=len(counts.index.labels.by_key),
        labels_unmatched=counts.index.labels.unmatched,
        label_scheme=counts.index.labels.scheme,
        captions_matched=counts.index.captioned,
        captions_unmatched=counts.index.captions.unmatched,
        captions_cut=_captions_cut(workspace),
        mean_fit_error=counts.fit_error_sum / usable if usable else None,
        seconds=seconds,
        photos_per_second=len(plan.jobs) / max(seconds, 1e-9),
        sides=counts.index.sides,
        pruned=plan.stale,
        passed_over=plan.photos.scan.told,
        passed_over_list=_list_passed_over(workspace, plan),
        notes=dict(counts.notes.most_common()),
        problems=counts.problems,
        problem_count=counts.problem_count,
    )
