"""The corpus's page: what became of the photos, how they spread, and faces to look at.

One HTML file that asks nothing of the network. Only columns of numbers and the rows that are shown
are read, so its memory does not grow with the landmarks of a large corpus.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from pyarrow import parquet

from sfe_core.config.corpus_sections import QualityConfig
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.inspection.album_expressions import expressions_of_albums
from sfe_core.corpus.inspection.crop_counts import CropCounts
from sfe_core.corpus.inspection.distributions import Histogram, figure, histogram
from sfe_core.corpus.inspection.report_sheets import UNLABELLED, WITH_PICTURES, draw_sheets
from sfe_core.corpus.layout import MANIFEST
from sfe_core.corpus.manifest import OK, STATUSES
from sfe_core.corpus.people.duplicates import Duplicates
from sfe_core.corpus.people.identities import People
from sfe_core.corpus.quality import limits_of
from sfe_core.emotions import EMOTIONS
from sfe_core.errors import UserError
from sfe_core.files import write_text
from sfe_core.wording import first_of

REPORT = "report.html"
_REASONS = 6
_COPIES = 20

# Column → title, unit, whether its axis is logarithmic.
_NUMBERS: dict[str, tuple[str, str, bool]] = {
    "face_px": ("Face size in the photo", "px", True),
    "sharpness": ("Sharpness (less is blurrier)", "grey levels²", True),
    "yaw": ("Yaw", "°", False),
    "pitch": ("Pitch", "°", False),
    "roll": ("Roll", "°", False),
    "mesh_coverage": ("Crop filled by the mesh", "", False),
    "landmarks_on_mesh": ("Inner landmarks on the mesh", "", False),
    "landmarks_drawn": ("Crop filled by drawn landmarks", "", False),
    "depth_relief": ("Relief of the depth on the face", "", False),
    "depth_clipped": ("Depth at the end of its range", "", False),
    "brightness": ("Brightness of the face", "grey levels", False),
    "contrast": ("Contrast of the face", "grey levels", False),
    "invented_border": ("Crop beyond the photo", "", False),
    "fit_error": ("Landmark error of the fit, in eye distances", "", False),
    "detection_score": ("Score of the detector", "", False),
    "confidence": ("Confidence in the landmarks", "", False),
    "angle": ("Angle of the face in its photo", "°", False),
}
_COLUMNS = (
    *("key", "photo", "status", "reason", "emotion", "split", "caption_source", "box"),
    *("crop_rule", "crop_side", "photo_sha256", "face_number"),
    *("identity", "identity_source", "duplicate_of", "emotion_source"),
)


@dataclass(frozen=True)
class Bar:
    """A count with its share of the largest one, and of all."""

    name: str
    count: int
    width: float
    share: float
    detail: str


def write_report(workspace: Workspace) -> Path:
    """Write corpus/report.html from the manifest and the pictures.

    Returns:
        The page.

    Raises:
        UserError: there is no corpus yet.
        RunError: the disk is full.
    """
    target = workspace.corpus / REPORT
    table = _read_columns(workspace.corpus / MANIFEST)
    environment = Environment(
        loader=PackageLoader("sfe_core.corpus", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = figure
    page = environment.get_template("report.html.j2").render(
        name=workspace.root.resolve().name,
        photos=table["photo"].nunique(),
        rows=len(table),
        usable=int((table["status"] == OK).sum()),
        statuses=_bars(table["status"], STATUSES),
        meanings=STATUSES,
        reasons=_reasons(table),
        emotions=_emotion_bars(table),
        splits=_bars(_usable(table)["split"].fillna("")),
        captions=_bars(_usable(table)["caption_source"].dropna()),
        together=[*expressions_of_albums(_usable(table)), *_together(_usable(table))],
        crops=CropCounts.of(_usable(table), workspace.config.preprocess).told(),
        histograms=_histograms(table, workspace.config.quality),
        sheets=draw_sheets(workspace, table),
    )
    write_text(target, page + "\n")
    return target


def _read_columns(manifest: Path) -> pd.DataFrame:
    """The manifest without its long columns; numbers it lacks are NaN, `face_px` is added."""
    if not manifest.is_file():
        raise UserError(manifest, "no corpus yet", "run `sfe preprocess` in the workspace first")
    there = parquet.read_schema(manifest).names
    wanted = [name for name in (*_COLUMNS, *_NUMBERS) if name in there]
    columns = parquet.read_table(manifest, columns=wanted)
    table = columns.drop_columns("box").to_pandas()
    # By pyarrow: pandas gives a missing list as None or NaN, by what else the column holds.
    boxes = [box or (np.nan,) * 4 for box in columns["box"].to_pylist()]
    left, top, right, bottom = np.array(boxes, float).reshape(-1, 4).T
    table["face_px"] = np.maximum(right - left, bottom - top)
    for name in _NUMBERS:
        if name not in table:
            table[name] = np.nan
    for name in ("face_number", "identity_source", "duplicate_of", "emotion_source"):
        if name not in table:
            table[name] = None
    return table


def _usable(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["status"] == OK]


def _bars(values: pd.Series, order: Mapping[str, Any] | None = None) -> list[Bar]:
    """Counts of values, in the given order, else the most frequent first."""
    counts = values.value_counts()
    names = [name for name in order or () if name in counts.index]
    names += [name for name in counts.index if name not in names]
    return [
        Bar(
            str(name),
            int(counts[name]),
            counts[name] / counts.max(),
            counts[name] / len(values),
            "",
        )
        for name in names
    ]


def _emotion_bars(table: pd.DataFrame) -> list[Bar]:
    """Usable faces by emotion, all eight of them, with their splits."""
    usable = _usable(table)
    emotions = usable["emotion"].fillna(UNLABELLED)
    splits = pd.crosstab(emotions, usable["split"].fillna(""))
    bars = []
    most = max(1, int(emotions.value_counts().max())) if len(usable) else 1
    for name in (*EMOTIONS, UNLABELLED):
        count = int((emotions == name).sum())
        if name == UNLABELLED and not count:
            continue
        parts = splits.loc[name].items() if name in splits.index else ()
        detail = ", ".join(f"{split or 'none'} {n}" for split, n in parts if n)
        bars.append(Bar(name, count, count / most, count / max(1, len(usable)), detail))
    return bars


def _reasons(table: pd.DataFrame) -> dict[str, list[tuple[str, int]]]:
    """The commonest reasons of every status but ok; numbers in them are left out to count."""
    lost = table[table["status"] != OK]
    plain = lost["reason"].fillna("").str.replace(r"\d+(\.\d+)?", "…", regex=True)
    return {
        str(status): [(str(why), n) for why, n in group.value_counts().head(_REASONS).items()]
        for status, group in plain.groupby(lost["status"])
    }


def _together(usable: pd.DataFrame) -> list[tuple[str, list[str]]]:
    """What is said of people and copies: a heading, and lines below it."""
    people, duplicates = People.of_table(usable), Duplicates.of_table(usable)
    emotions = dict(zip(usable["key"], usable["emotion"], strict=True))
    two_ways = duplicates.contradictions(emotions)
    groups = [", ".join(group) for group in duplicates.groups]
    advice = people.advice()
    found = [(f"People: {people.told()}", [advice] if advice else [])]
    if two_ways:
        found.append(
            (f"Copies labelled in two ways: {len(two_ways):,}", first_of(two_ways, _COPIES))
        )
    if groups:
        found.append((f"Copies: {duplicates.told()}", first_of(groups, _COPIES)))
    return found


def _histograms(table: pd.DataFrame, quality: QualityConfig) -> list[Histogram]:
    """Of faces with pictures, out of range or not, so that limits can be seen at work."""
    faces = table[table["status"].isin(WITH_PICTURES)]
    limits = limits_of(quality) | {"confidence": quality.confidence}
    drawn = [
        histogram(name, title, unit, faces[name], limits.get(name, (-np.inf, np.inf)), logarithmic)
        for name, (title, unit, logarithmic) in _NUMBERS.items()
    ]
    return [found for found in drawn if found is not None]
