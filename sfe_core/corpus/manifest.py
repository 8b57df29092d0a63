"""The manifest: one row per photo, in parquet, whether it became part of the corpus or not.

Status is one of `STATUSES`; a photo that cannot be used is a row with the reason, never a crash.
"""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sfe_core.arrays import Doubles
from sfe_core.corpus.artefacts.kinds import KINDS
from sfe_core.corpus.layout import MANIFEST
from sfe_core.errors import RunError, UserError
from sfe_core.faces.crop import CropTransform
from sfe_core.files import atomic_path

# A row as plain values by column.
Row = dict[str, Any]

OK = "ok"
OUT_OF_RANGE = "out_of_range"
DOUBTFUL = "doubtful"
MISSING = "missing"
# Their pictures are made and kept: `quality.judge_row` decides between them by the limits.
WITH_PICTURES = (OK, OUT_OF_RANGE, DOUBTFUL)
STATUSES: dict[str, str] = {
    OK: "in the corpus",
    "no_face": "the detector found no face",
    "face_too_small": "every face is smaller than preprocess.min_face_px",
    "unreadable": "the file is empty, torn or not an image",
    "too_large": "more pixels than preprocess.max_megapixels",
    "duplicate_key": "another photo has the same path but for its extension",
    OUT_OF_RANGE: "its pictures are beyond the limits of sfe.yaml's quality section",
    DOUBTFUL: "a face may be misread or none: its confidence is beyond quality.confidence",
    MISSING: "its photo cannot be seen just now; its row and pictures are kept",
    "failed": "an unexpected error, tried again by the next run",
}

# Column → pandas type; "object" columns hold strings, None or lists of float.
COLUMNS: dict[str, str] = {
    "key": "object",
    "photo": "object",  # path below photos/, with extension
    "status": "object",
    "reason": "object",
    "photo_sha256": "object",
    "config_hash": "object",  # of all that shapes pictures, when the row was made
    "made_with": "object",  # JSON: artefact kind → hash of what shapes it, see artefact_hashes
    "width": "Int64",  # of the photo after its EXIF rotation, pixels
    "height": "Int64",
    "photo_notes": "object",  # what was done to come to its pixels: colours converted, …
    "face_count": "Int64",
    "face_scores": "object",  # the detector's score of every face, largest face first
    "face_number": "Int64",  # 1, or with face_choice all the place among the photo's faces
    "detection_score": "float64",
    "confidence": "float64",  # 0 to 1, that the landmarks are right, see faces.confidence
    "angle": "float64",  # degrees clockwise by which the face and its crop stand in the photo
    "box": "object",  # left, top, right, bottom in photo pixels
    "landmarks": "object",  # 68 × (x, y), photo pixels
    "crop_x": "float64",  # centre of the crop, photo pixels
    "crop_y": "float64",
    "crop_side": "float64",
    "crop_rule": "object",  # that found it; as-is also where the face fills its photo
    "invented_border": "float64",  # share of the crop beyond the photo
    "fit_error": "float64",  # mean landmark distance over inter-ocular distance
    "yaw": "float64",  # of the fitted head, degrees, as seen in the crop
    "pitch": "float64",
    "roll": "float64",
    "identity_fit": "object",  # coefficients of Anny's head, standard deviations; else see codes/
    "actions": "object",  # its 52 facial actions in [0, 1]
    "depth_unit": "object",
    "depth_low": "float64",  # what depth value 0 and 65535 mean, in depth_unit
    "depth_high": "float64",
    # SHA-256 of each artefact's file; not every configuration has all.
    **{kind.column: "object" for kind in KINDS},
    "sharpness": "float64",  # of the pictures, see quality.measure_pictures
    "mesh_coverage": "float64",
    "landmarks_on_mesh": "float64",
    "landmarks_drawn": "float64",
    "depth_relief": "float64",
    "depth_clipped": "float64",
    "brightness": "float64",
    "contrast": "float64",
    "buffer_faults": "object",  # what is wrong with normals, albedo and shading; "" = nothing
    "mean_buffer_faults": "object",  # the same of those with the album's mean shape
    "face_hash": "object",  # how the face looks, see face_hash; "" where there is nothing
    "emotion": "object",
    "emotion_source": "object",  # labels, or the recogniser that read it
    "valence": "float64",
    "arousal": "float64",
    "identity": "object",
    "identity_source": "object",  # labels, file names, folders or clusters, see identities
    "duplicate_of": "object",  # key of the face that this one is a copy of, see duplicates
    "caption": "object",
    "caption_source": "object",  # what made it: file, sidecar, template, blip, … joined by +
    "split": "object",  # train | validation name | ""
}

# Columns that a manifest may lack; they are read as missing values.
OPTIONAL = frozenset(
    {
        "photo_notes",
        "face_scores",
        "face_number",
        "confidence",
        "angle",
        "made_with",
        "sharpness",
        "mesh_coverage",
        "landmarks_on_mesh",
        "landmarks_drawn",
        "depth_relief",
        "depth_clipped",
        "brightness",
        "contrast",
        "crop_rule",
        "invented_border",
        "buffer_faults",
        "mean_buffer_faults",
        "face_hash",
        "emotion_source",
        "identity_source",
        "duplicate_of",
    }
    | {kind.column for kind in KINDS if not kind.required}
)


def to_frame(rows: list[Row]) -> pd.DataFrame:
    """Rows as a table with every column of `COLUMNS` first, ordered by photo path."""
    extra = sorted({name for row in rows for name in row} - COLUMNS.keys())
    rows = sorted(rows, key=lambda row: row["photo"])
    data = {
        name: pd.Series([row.get(name) for row in rows], dtype=kind)
        for name, kind in COLUMNS.items()
    }
    for name in extra:
        data[name] = pd.Series([row.get(name) for row in rows])
    return pd.DataFrame(data)


def write_manifest(path: Path, frame: pd.DataFrame) -> None:
    """Write the table atomically."""
    with atomic_path(path) as partial:
        frame.to_parquet(partial, index=False)


def read_manifest(path: Path) -> pd.DataFrame:
    """Read the table.

    Raises:
        UserError: there is none yet.
        RunError: it is torn or of another layout.
    """
    if not path.is_file():
        raise UserError(path, "no corpus yet", "run `sfe preprocess` in the workspace first")
    return parse_manifest(path.read_bytes(), path)


def parse_manifest(content: bytes, path: Path | str) -> pd.DataFrame:
    """The table in a manifest's bytes; `path` names it in errors.

    Raises:
        RunError: it is torn or of another layout.
    """
    try:
        frame = pd.read_parquet(BytesIO(content))
    except Exception as error:  # pyarrow raises many unrelated types for torn files
        raise RunError(
            path, f"cannot be read ({error})", "delete the file and run `sfe preprocess` again"
        ) from error
    missing = [name for name in COLUMNS if name not in frame.columns and name not in OPTIONAL]
    if missing:
        raise RunError(
            path,
            f"lacks the columns {', '.join(missing)}",
            "it is of an older version: delete it and run `sfe preprocess` again",
        )
    for name in OPTIONAL.difference(frame.columns):
        frame[name] = pd.Series(None, index=frame.index, dtype=COLUMNS[name])
    for name, kind in COLUMNS.items():
        if kind == "object":
            column = frame[name].astype(object)
            frame[name] = column.where(column.notna(), None)
    return frame


def landmarks_of(row: Mapping[str, Any] | pd.Series) -> Doubles:
    """The landmarks of a row's face, [68, 2] photo pixels.

    Raises:
        UserError: it has none.
    """
    if row.get("landmarks") is None:
        raise UserError(
            f"{MANIFEST}: {row['key']}",
            "has no landmarks",
            "delete the manifest and run `sfe preprocess` to find them",
        )
    return np.asarray(row["landmarks"], np.float64).reshape(68, 2)


def crop_of(row: Mapping[str, Any] | pd.Series) -> CropTransform:
    """The square of a row's crop in its photo; rows of older manifests have no angle."""
    x, y, side = (float(row[f"crop_{name}"]) for name in ("x", "y", "side"))
    angle = row.get("angle")
    return CropTransform(x, y, side, 0.0 if angle is None or pd.isna(angle) else float(angle))


def plain_rows(frame: pd.DataFrame) -> list[Row]:
    """Rows as dicts of plain Python values, missing ones None; lists stay lists."""
    return [
        {str(name): _plain(value) for name, value in row.items()}
        for row in frame.to_dict("records")
    ]


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list):
        return value
    return None if pd.isna(value) else value
