"""The contact sheets of a corpus's page: which faces they show, and their pictures."""

from __future__ import annotations

import base64
from collections.abc import Collection
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from PIL import Image
from pyarrow import compute, parquet

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.inspection.contact_sheet import COLUMNS, face_sheet, photo_sheet, spread
from sfe_core.corpus.inspection.distributions import figure
from sfe_core.corpus.layout import MANIFEST
from sfe_core.corpus.manifest import OK, STATUSES, WITH_PICTURES, plain_rows
from sfe_core.corpus.picture_store import FolderStore
from sfe_core.emotions import EMOTIONS

UNLABELLED = "unlabelled"
# Faces at both ends of these columns are shown.
_EDGES = {
    "confidence": "Confidence in the landmarks",
    "sharpness": "Sharpness",
    "brightness": "Brightness of the face",
    "invented_border": "Crop beyond the photo",
    "mesh_coverage": "Crop filled by the mesh",
    "landmarks_on_mesh": "Inner landmarks on the mesh",
    "depth_relief": "Relief of the depth on the face",
    "fit_error": "Landmark error of the fit",
    "yaw": "Yaw",
}
_JPEG_QUALITY = 82
_ROWS_AT_ONCE = 256


@dataclass(frozen=True)
class Sheet:
    """A contact sheet as a data URI."""

    title: str
    note: str
    source: str
    width: int
    height: int


@dataclass(frozen=True)
class _Choice:
    """Faces to be shown on one sheet, with a line of text for each or none."""

    title: str
    note: str
    keys: list[str]
    lines: list[str]


def draw_sheets(workspace: Workspace, table: pd.DataFrame) -> dict[str, list[Sheet]]:
    """The sheets under "emotion", "edge" and "status".

    Args:
        workspace: with a manifest.
        table: key, photo, status, emotion and the numbers of every row.
    """
    choices = {"emotion": _by_emotion(table), "edge": _at_the_edge(table), "status": []}
    for status in WITH_PICTURES:
        group = table[table["status"] == status]
        if len(group):
            note = _status_note(status, group, table)
            choices["status"].append(_Choice(status, note, spread(group["key"].tolist()), []))
    wanted = {key for chosen in choices.values() for choice in chosen for key in choice.keys}
    rows = _read_rows(workspace.corpus / MANIFEST, wanted)
    store = FolderStore(workspace.corpus)
    sheets = {
        section: [
            _sheet(
                choice.title,
                choice.note,
                face_sheet(store, [rows[key] for key in choice.keys], choice.lines),
            )
            for choice in chosen
        ]
        for section, chosen in choices.items()
    }
    sheets["status"] += _lost_photos(workspace, table)
    return sheets


def _by_emotion(table: pd.DataFrame) -> list[_Choice]:
    usable = table[table["status"] == OK]
    emotions = usable["emotion"].fillna(UNLABELLED)
    choices = []
    for name in (*EMOTIONS, UNLABELLED):
        keys = usable["key"][emotions == name].tolist()
        if keys:
            choices.append(_Choice(name, f"{len(keys):,} faces", spread(keys), []))
    return choices


def _at_the_edge(table: pd.DataFrame) -> list[_Choice]:
    """The faces with the least and the most of a number."""
    faces = table[table["status"].isin(WITH_PICTURES)]
    half = COLUMNS // 2
    choices = []
    for column, title in _EDGES.items():
        known = faces[faces[column].notna()].sort_values([column, "key"])
        chosen = known if len(known) <= COLUMNS else pd.concat([known[:half], known[-half:]])
        if len(chosen):
            lines = [figure(value) for value in chosen[column]]
            note = "the least on the left, the most on the right"
            choices.append(_Choice(title, note, chosen["key"].tolist(), lines))
    return choices


def _lost_photos(workspace: Workspace, table: pd.DataFrame) -> list[Sheet]:
    """Photos of every status without pictures."""
    limit = workspace.config.preprocess.max_megapixels
    sheets = []
    for status in STATUSES:
        group = table[table["status"] == status]
        if status not in WITH_PICTURES and len(group):
            picture = photo_sheet(workspace.photos, spread(group["photo"].tolist()), limit)
            sheets.append(_sheet(status, _status_note(status, group, table), picture))
    return sheets


def _status_note(status: str, group: pd.DataFrame, table: pd.DataFrame) -> str:
    return f"{len(group):,} of {len(table):,}: {STATUSES[status]}"


def _read_rows(manifest: Path, keys: Collection[str]) -> dict[str, dict[str, Any]]:
    """Whole rows of faces with pictures, by key; the manifest passes by in pieces."""
    found: dict[str, dict[str, Any]] = {}
    wanted, shown = pa.array(sorted(keys), pa.string()), pa.array(WITH_PICTURES)
    with parquet.ParquetFile(manifest) as file:
        for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE):
            # A refused photo may bear the key of a usable one.
            with_pictures = compute.is_in(batch["status"], value_set=shown)
            chosen = compute.and_(compute.is_in(batch["key"], value_set=wanted), with_pictures)
            table = pa.Table.from_batches([batch.filter(chosen)])
            if table.num_rows:
                found |= {row["key"]: row for row in plain_rows(table.to_pandas())}
    return found


def _sheet(title: str, note: str, picture: Image.Image) -> Sheet:
    stream = BytesIO()
    picture.save(stream, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    source = "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
    return Sheet(title, note, source, *picture.size)
