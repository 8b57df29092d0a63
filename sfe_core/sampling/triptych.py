"""Original, base and fine-tuned picture of every item of a split, and the gallery over them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.layout import INPUTS
from sfe_core.corpus.reader import Corpus
from sfe_core.errors import RunError
from sfe_core.packaging.listing import newest_package
from sfe_core.reporting import Reporter
from sfe_core.sampling.composition import LAYOUT_VERSION, Panel, compose_triptych
from sfe_core.sampling.gallery import GalleryItem, write_gallery
from sfe_core.sampling.lettering import missing_glyphs
from sfe_core.sampling.pictures import Series, draw_series
from sfe_core.sampling.pngs import read_record, save_png

_HEADINGS = {
    "guided": ("Original", "Base", "Fine-tuned, guided"),
    "text": ("Original", "Base", "Fine-tuned"),
}


@dataclass(frozen=True)
class TriptychSummary:
    """What was made.

    Args:
        folder: `triptychs/<split>`.
        gallery: its index.html.
        total: triptychs of the split.
        composed: written now; the others were found as they should be.
        base_drawn: base pictures drawn now; the others were reused.
        fine_tuned_drawn: likewise of the package.
        missing_originals: triptychs whose original is a blank tile.
    """

    folder: Path
    gallery: Path
    total: int
    composed: int
    base_drawn: int
    fine_tuned_drawn: int
    missing_originals: int


@dataclass(frozen=True)
class _Job:
    """One triptych: its row of the corpus, where it goes, and what decides it."""

    key: str
    caption: str
    emotion: str | None
    target: Path
    record: dict[str, Any]


def make_triptychs(
    workspace: Workspace,
    split: str | None = None,
    package: Path | None = None,
    reporter: Reporter | None = None,
) -> TriptychSummary:
    """Write `triptychs/<split>/<key>.png` for every item of a split, and an index.html.

    Pictures come from `draw_series`, so what was drawn before is reused; a triptych is composed
    again only when one of its pictures, its caption or the layout changed.

    Args:
        split: None = `split.validation_name`.
        package: packaged pipeline folder; None = the newest.

    Raises:
        UserError: no corpus, unknown split, no package, missing base model.
        RunError: a picture cannot be drawn or written.
    """
    reporter = reporter or Reporter()
    split = split or workspace.config.split.validation_name
    corpus = Corpus.open(workspace)
    rows = corpus.split(split)
    package = package or newest_package(workspace)
    fine_tuned = workspace.config.triptych.fine_tuned
    base = draw_series(workspace, split, "base", package, reporter)
    tuned = draw_series(workspace, split, fine_tuned, package, reporter)

    tile_px = workspace.config.triptych.tile_px
    headings = _HEADINGS[fine_tuned]
    folder = workspace.triptychs / split
    absent = set(corpus.store.missing(INPUTS, rows["key"]))
    jobs = [
        _job(row, row["key"] not in absent, tile_px, folder, base, tuned, headings)
        for row in rows.to_dict("records")
    ]
    _warn_of_missing_glyphs([job.caption for job in jobs], reporter)
    stale = [job for job in jobs if read_record(job.target) != job.record]
    for job in reporter.track(stale, "composing triptychs"):
        _compose(job, corpus, base, tuned, headings, tile_px)
    missing = sum(not job.record["original"] for job in jobs)
    if missing:
        reporter.warn(
            f"{missing} of {len(jobs)} originals are missing from the corpus: "
            "their tiles are blank; `sfe preprocess` writes them again"
        )
    gallery = write_gallery(
        folder,
        [GalleryItem(job.key, job.emotion, job.caption, job.record) for job in jobs],
        title=f"Triptychs of {split}",
        subtitle=f"{len(jobs)} faces · {package.name} beside its base model",
        headings=headings,
        tile_px=tile_px,
    )
    return TriptychSummary(
        folder=folder,
        gallery=gallery,
        total=len(jobs),
        composed=len(stale),
        base_drawn=base.drawn,
        fine_tuned_drawn=tuned.drawn,
        missing_originals=missing,
    )


def _job(
    row: dict[str, Any],
    has_original: bool,
    tile_px: int,
    folder: Path,
    base: Series,
    tuned: Series,
    headings: tuple[str, ...],
) -> _Job:
    key = row["key"]
    caption = "" if pd.isna(row["caption"]) else str(row["caption"])
    record = {
        "layout": LAYOUT_VERSION,
        "tile_px": tile_px,
        "headings": list(headings),
        "caption": caption,
        "original": row["inputs_sha256"] if has_original else "",
        "base": read_record(base.picture(key)),
        "fine_tuned": read_record(tuned.picture(key)),
    }
    emotion = None if pd.isna(row["emotion"]) else str(row["emotion"])
    return _Job(key, caption, emotion, folder / f"{key}.png", record)


def _compose(
    job: _Job, corpus: Corpus, base: Series, tuned: Series, headings: tuple[str, ...], tile_px: int
) -> None:
    original = corpus.picture(INPUTS, job.key).convert("RGB") if job.record["original"] else None
    panels = (
        Panel(headings[0], original, absent="original missing"),
        Panel(headings[1], _open(base.picture(job.key))),
        Panel(headings[2], _open(tuned.picture(job.key))),
    )
    save_png(compose_triptych(panels, job.caption, tile_px), job.target, job.record)


def _warn_of_missing_glyphs(captions: list[str], reporter: Reporter) -> None:
    missing = missing_glyphs(captions)
    if missing:
        shown = " ".join(missing[:10]) + (" …" if len(missing) > 10 else "")
        reporter.warn(
            f"no font on this machine has {len(missing)} characters of the captions ({shown}): "
            "they are drawn as boxes; `pip install 'sfe[fonts]'` brings Noto Sans for most scripts"
        )


def _open(path: Path) -> Image.Image:
    try:
        with Image.open(path) as picture:
            return picture.convert("RGB")
    except (OSError, SyntaxError) as error:
        raise RunError(path, f"cannot be read ({error})", "delete it and run again") from error
