"""Original, base and fine-tuned picture of every item of a split, and the gallery over them."""

from __future__ import annotations

from collections.abc import Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from joblib import cpu_count
from PIL import Image

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.layout import INPUTS
from sfe_core.corpus.reader import Corpus
from sfe_core.errors import RunError
from sfe_core.packaging.listing import can_guide, newest_package, of_package, refuse_rig
from sfe_core.processes.placement import Placement
from sfe_core.reporting import Reporter
from sfe_core.sampling.composition import LAYOUT_VERSION, Panel, compose_triptych
from sfe_core.sampling.contact_sheets import write_contact_sheets
from sfe_core.sampling.gallery import GalleryItem, write_gallery
from sfe_core.sampling.lettering import missing_glyphs
from sfe_core.sampling.pictures import Series, draw_series
from sfe_core.sampling.pipelines import pipeline_folder
from sfe_core.sampling.pngs import read_record, read_remarks, save_png
from sfe_core.wording import listed

_HEADINGS = {
    "guided": ("Original", "Base", "Fine-tuned, guided"),
    "text": ("Original", "Base", "Fine-tuned"),
}
_BLANK = {
    False: "blank: one colour throughout",
    True: "blank: the safety checker objected, or one colour throughout",
}
_MOST_THREADS = 8  # that compose; PIL works outside Python's lock


@dataclass(frozen=True)
class TriptychSummary:
    """What was made.

    Args:
        folder: `triptychs/<split>`.
        gallery: its index.html.
        contact_sheets: one or more for each emotion.
        total: triptychs of the split.
        composed: written now; the others were found as they should be.
        base_drawn: base pictures drawn now; the others were reused.
        fine_tuned_drawn: likewise of the package.
        missing_originals: triptychs whose original is a blank tile, for it is not there or torn.
        blank_pictures: drawn pictures of one colour throughout, as a safety checker leaves them.
    """

    folder: Path
    gallery: Path
    contact_sheets: tuple[Path, ...]
    total: int
    composed: int
    base_drawn: int
    fine_tuned_drawn: int
    missing_originals: int
    blank_pictures: int


@dataclass(frozen=True)
class _Job:
    """One triptych: its row of the corpus, where it goes, and what decides it."""

    key: str
    caption: str
    emotion: str | None
    target: Path
    record: dict[str, Any]


@dataclass(frozen=True)
class _Makings:
    """What all triptychs of a split are made of."""

    corpus: Corpus
    base: Series
    tuned: Series
    headings: tuple[str, ...]
    tile_px: int
    folder: Path


def make_triptychs(
    workspace: Workspace,
    split: str | None = None,
    package: Path | None = None,
    reporter: Reporter | None = None,
    placement: Placement | None = None,
) -> TriptychSummary:
    """Write `triptychs/<split>/<key>.png` for every item of a split, contact sheets and index.html.

    Pictures come from `draw_series`, so what was drawn before is reused; a triptych is composed
    again only when one of its pictures, its caption or the layout changed.

    Args:
        split: None = `split.validation_name`.
        package: packaged pipeline folder; None = the newest.
        placement: the processes that draw; None = one, on the GPU if there is one.

    Raises:
        UserError: no corpus, unknown split, no package or one of recipe physical, missing base
            model.
        RunError: a picture cannot be drawn or written.
    """
    reporter = reporter or Reporter()
    split = split or workspace.config.split.validation_name
    package = package or newest_package(workspace)
    refuse_rig(package, "sfe triptych")
    workspace = of_package(workspace, package)
    corpus = Corpus.open(workspace)
    rows = corpus.split(split)
    fine_tuned = workspace.config.triptych.fine_tuned
    if fine_tuned == "auto":
        fine_tuned = "guided" if can_guide(package) else "text"
    pipeline_folder(fine_tuned, workspace.config, package)  # before the base's pictures take long
    makings = _Makings(
        corpus=corpus,
        base=draw_series(workspace, split, "base", package, reporter, placement),
        tuned=draw_series(workspace, split, fine_tuned, package, reporter, placement),
        headings=_HEADINGS[fine_tuned],
        tile_px=workspace.config.triptych.tile_px,
        folder=workspace.triptychs / split,
    )
    absent = set(corpus.store.missing(INPUTS, rows["key"]))
    jobs = [_job(row, row["key"] not in absent, makings) for row in rows.to_dict("records")]
    composed = _compose_stale(jobs, makings, reporter)
    items = [_item(job) for job in jobs]
    missing = sum(any(fault.startswith("original") for fault in item.faults) for item in items)
    blank = sum(job.record[name]["blank"] for job in jobs for name in ("base", "fine_tuned"))
    _warn(jobs, missing, blank, reporter)
    sheets, gallery = _overviews(makings, items, split, package.name)
    return TriptychSummary(
        folder=makings.folder,
        gallery=gallery,
        contact_sheets=sheets,
        total=len(jobs),
        composed=composed,
        base_drawn=makings.base.drawn,
        fine_tuned_drawn=makings.tuned.drawn,
        missing_originals=missing,
        blank_pictures=blank,
    )


def _overviews(
    makings: _Makings, items: list[GalleryItem], split: str, package: str
) -> tuple[tuple[Path, ...], Path]:
    """Write the contact sheets and the page over them."""
    sheets = write_contact_sheets(makings.folder, items, makings.headings, makings.tile_px)
    gallery = write_gallery(
        makings.folder,
        items,
        title=f"Triptychs of {split}",
        subtitle=f"{len(items)} faces · {package} beside its base model",
        headings=makings.headings,
        tile_px=makings.tile_px,
        sheets=sheets,
    )
    return tuple(path for paths in sheets.values() for path in paths), gallery


def _job(row: dict[Hashable, Any], has_original: bool, makings: _Makings) -> _Job:
    key = row["key"]
    caption = "" if pd.isna(row["caption"]) else str(row["caption"])
    record = {
        "layout": LAYOUT_VERSION,
        "tile_px": makings.tile_px,
        "headings": list(makings.headings),
        "caption": caption,
        "original": row["inputs_sha256"] if has_original else "",
        "base": _drawn(makings.base, key),
        "fine_tuned": _drawn(makings.tuned, key),
    }
    emotion = None if pd.isna(row["emotion"]) else str(row["emotion"])
    return _Job(key, caption, emotion, makings.folder / f"{key}.png", record)


def _drawn(series: Series, key: str) -> dict[str, Any]:
    path = series.picture(key)
    return {"record": read_record(path), "blank": bool(read_remarks(path).get("blank"))}


def _compose_stale(jobs: list[_Job], makings: _Makings, reporter: Reporter) -> int:
    """Compose what is missing, damaged or no longer as it should be; gives their number."""
    stale = [job for job in jobs if read_record(job.target) != job.record]
    with ThreadPoolExecutor(min(_MOST_THREADS, cpu_count())) as pool:
        composed = pool.map(lambda job: _compose(job, makings), stale)
        for _ in reporter.track(composed, "composing triptychs", len(stale)):
            pass
    return len(stale)


def _compose(job: _Job, makings: _Makings) -> None:
    record, original, absent = job.record, None, "original missing"
    if record["original"]:
        try:
            original = makings.corpus.picture(INPUTS, job.key).convert("RGB")
        except RunError:
            # Without its hash in the record the triptych is composed again at the next call.
            record, absent = record | {"original": ""}, "original unreadable"
    panels = [Panel(makings.headings[0], original, absent)]
    for heading, series, name in (
        (makings.headings[1], makings.base, "base"),
        (makings.headings[2], makings.tuned, "fine_tuned"),
    ):
        blank = record[name]["blank"]
        picture = None if blank else _open(series.picture(job.key))
        panels.append(Panel(heading, picture, _BLANK[series.settings.safety_checker]))
    remarks = None if original else {"original": absent}
    picture = compose_triptych(tuple(panels), job.caption, makings.tile_px)
    save_png(picture, job.target, record, remarks)


def _item(job: _Job) -> GalleryItem:
    original = read_remarks(job.target).get("original")
    faults = [original] if original else []
    for name, title in (("base", "base"), ("fine_tuned", "fine-tuned")):
        if job.record[name]["blank"]:
            faults.append(f"{title} picture blank")
    return GalleryItem(job.key, job.emotion, job.caption, job.record, tuple(faults))


def _warn(jobs: list[_Job], missing: int, blank: int, reporter: Reporter) -> None:
    if missing:
        reporter.warn(
            f"{missing} of {len(jobs)} originals are missing from the corpus: "
            "their tiles are blank; `sfe preprocess` writes them again"
        )
    if blank:
        reporter.warn(
            f"{blank} of {2 * len(jobs)} drawn pictures are of one colour throughout: "
            "their tiles say so, and measures leave them out"
        )
    boxes = missing_glyphs(job.caption for job in jobs)
    if boxes:
        shown = listed(boxes, 10, " ")
        reporter.warn(
            f"no font on this machine has {len(boxes)} characters of the captions ({shown}): "
            "they are drawn as boxes; `pip install 'sfe[fonts]'` brings Noto Sans for most scripts"
        )


def _open(path: Path) -> Image.Image:
    try:
        with Image.open(path) as picture:
            return picture.convert("RGB")
    except (OSError, SyntaxError) as error:
        raise RunError(path, f"cannot be read ({error})", "delete it and run again") from error
