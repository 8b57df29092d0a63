"""The pictures of a split, one PNG per key, drawn once and found again.

They lie at `generated/<split>/<variant>-<settings hash>/<key>.png`, at the model's resolution. The
hash covers all that the pictures of a series share (`settings.DrawSettings`), so base pictures
serve every checkpoint. Each PNG records its own prompt, seed and maps, so that a changed caption or
a corpus made anew redraws just what it changed.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from filelock import FileLock, Timeout

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.annotations.captions import without_emotion
from sfe_core.corpus.annotations.unit_labels import told_units
from sfe_core.corpus.reader import Corpus
from sfe_core.errors import RunError, UserError
from sfe_core.files import TEMPORARY_MARK, check_key, derive_seed, write_json
from sfe_core.packaging.class_prompts import ClassPrompts, class_prompts
from sfe_core.packaging.listing import action_units, expressions, guidance_maps, newest_package
from sfe_core.processes.placement import Placement, place
from sfe_core.reporting import Reporter
from sfe_core.sampling.pipelines import draws_as_base, pipeline_folder, series_settings
from sfe_core.sampling.pngs import read_record
from sfe_core.sampling.prompts import clean_prompt, tell_of_prompts
from sfe_core.sampling.settings import VARIANTS, DrawSettings, Variant
from sfe_core.sampling.share import Record, Share, draw_share
from sfe_core.sampling.share_worker import launch_shares

_LOCK = ".lock"
_TITLES = {
    "base": "drawing with the base model",
    "text": "drawing from captions",
    "guided": "drawing from captions and what the package is told beside",
}


@dataclass(frozen=True)
class Series:
    """The pictures of one split, variant and settings: where they lie and what was done for them.

    Args:
        folder: holds `<key>.png` and settings.json.
        drawn: pictures drawn now.
        reused: pictures found as asked for.
    """

    folder: Path
    settings: DrawSettings
    drawn: int
    reused: int

    def picture(self, key: str) -> Path:
        """Where the picture of `key` lies."""
        return self.folder / f"{key}.png"


def draw_series(
    workspace: Workspace,
    split: str,
    variant: Variant,
    package: Path | None = None,
    reporter: Reporter | None = None,
    placement: Placement | None = None,
) -> Series:
    """Draw what is missing of a split, and say where its pictures lie and what was done for them.

    Args:
        split: name of a split of the corpus.
        variant: base (base model, caption alone), text (package, caption alone; the pictures of
            base where the package kept that) or guided (package, caption and what it knows of the
            corpus's maps, action units and emotions; these as embeddings, and not in words, and
            fused with the person where it learnt that).
        package: packaged pipeline folder; None = the newest. Plays no part in base.
        placement: the processes that draw; None = one, on the GPU if there is one. Whoever draws,
            a picture on a like device is the same.

    Raises:
        UserError: no corpus, unknown split or variant, no package, missing base model.
        RunError: torn weights or maps, values that are not finite, out of memory at one picture.
    """
    reporter = reporter or Reporter()
    if variant not in VARIANTS:
        raise UserError("variant", f"{variant!r} is unknown", f"use {', '.join(VARIANTS)}")
    corpus = Corpus.open(workspace)
    rows = corpus.split(split)
    if package is None and variant != "base":
        package = newest_package(workspace)
    source = pipeline_folder(variant, workspace.config, package)
    alone = variant == "text" and not workspace.config.sampling.loras
    if alone and draws_as_base(source, workspace.config):
        reporter.say(
            f"{source.name} kept its base: from captions alone the base's pictures are its"
        )
        variant, source = "base", pipeline_folder("base", workspace.config, None)
    placement = placement or place()
    units = action_units(source) if variant == "guided" else ()
    emotions = expressions(source) if variant == "guided" else ()
    anyone = class_prompts(source, workspace) if variant == "guided" else None
    settings = series_settings(
        workspace,
        torch.device(placement.device),
        variant,
        source,
        guidance_maps(source) if variant == "guided" else (),
        bool(units),
        bool(emotions),
        anyone is not None,
    )
    folder = workspace.generated / split / settings.folder_name
    asked = zip(rows.to_dict("records"), told_units(units, rows), strict=True)
    wanted = [_record(row, settings, told, emotions, anyone) for row, told in asked]
    share = Share.of(workspace.config.sampling, source, settings, folder)
    return draw_records(share, wanted, workspace, corpus, placement, reporter)


def draw_records(
    share: Share,
    wanted: Sequence[Record],
    workspace: Workspace,
    corpus: Corpus,
    placement: Placement,
    reporter: Reporter,
) -> Series:
    """Draw those of some pictures that do not lie in the share's folder as recorded.

    Args:
        wanted: records with settings, key, prompt, seed, maps and, where told, units.

    Raises:
        RunError: see `draw_series`.
    """
    folder, settings, drawn = share.folder, share.settings, 0
    if _missing(folder, wanted):
        with _series_lock(folder, reporter):
            missing = _missing(folder, wanted)  # another run may just have drawn some
            drawn = len(missing)
            if missing:
                write_json(folder / "settings.json", asdict(settings))
                prompts = [one["prompt"] for one in missing]
                tell_of_prompts(share.source, prompts, settings, "caption", reporter)
                _draw(share, missing, workspace, corpus, placement, reporter)
    return Series(folder, settings, drawn=drawn, reused=len(wanted) - drawn)


@contextmanager
def _series_lock(folder: Path, reporter: Reporter) -> Iterator[None]:
    """Hold a series' folder (made) for this process, free of what a killed run left half-written.

    The system lets go of the lock when the process ends, however it ends.

    Raises:
        RunError: the folder cannot be written.
    """
    lock = FileLock(folder / _LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            reporter.say(f"another run draws in {folder}: waiting for its end")
            lock.acquire()
        for partial in folder.rglob(f"{TEMPORARY_MARK}*"):
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(
            folder, f"cannot be written ({error.strerror})", "check its permissions and space"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _missing(folder: Path, wanted: Sequence[Record]) -> list[Record]:
    return [one for one in wanted if read_record(folder / f"{one['key']}.png") != one]


def _record(
    row: dict[Hashable, Any],
    settings: DrawSettings,
    units: dict[str, float],
    emotions: Sequence[str],
    anyone: ClassPrompts | None,
) -> Record:
    """All that decides the picture of one row.

    Args:
        units: what is told of them, if anything.
        emotions: those that are told as embeddings.
        anyone: makes the prompt to fuse with; None: nothing is fused.
    """
    key = check_key(row["key"], "corpus/manifest.parquet")
    caption = "" if pd.isna(row["caption"]) else str(row["caption"])
    record: Record = {
        "settings": settings.sha256,
        "key": key,
        "prompt": clean_prompt(without_emotion(caption) if emotions else caption),
        "seed": derive_seed(settings.seed, key, "noise"),
        "maps": {name: row[f"{name}_sha256"] for name in settings.strengths},
    }
    record |= {"units": units} if units else {}
    told = row["emotion"] in emotions
    record |= {"expressions": {row["emotion"]: 1.0}} if told else {}
    fused = anyone.of(record["prompt"], told) if anyone is not None else ""
    return record | {"fusion_prompt": fused} if fused else record


def _draw(
    share: Share,
    missing: Sequence[Record],
    workspace: Workspace,
    corpus: Corpus,
    placement: Placement,
    reporter: Reporter,
) -> None:
    with reporter.task(_TITLES[share.settings.variant], len(missing)) as task:
        if min(placement.processes, len(missing)) > 1:
            launch_shares(share, missing, workspace, placement, reporter, task)
        else:
            device = torch.device(placement.device)
            draw_share(share, missing, corpus, device, reporter, task)
