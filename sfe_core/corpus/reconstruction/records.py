"""What an output folder holds: the settings it was made with, and a record per photo.

settings.json         every setting that shapes the results, and the hash of models and settings
records/<key>.json    a photo: its bytes' SHA-256, that hash, its faces, the files by kind
faces.csv             all of them as a table, with the photos that failed
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from sfe_core.assets.registry import registry
from sfe_core.assets.store import missing_files
from sfe_core.config.corpus_sections import PreprocessConfig
from sfe_core.corpus.artefacts.hashes import FACE, artefact_hashes
from sfe_core.corpus.artefacts.kinds import SHAPING_BUFFERS, has_detail, shaping_settings
from sfe_core.corpus.reconstruction.outputs import SavedFace
from sfe_core.errors import RunError, UserError
from sfe_core.files import atomic_path, sha256_json, write_json

SETTINGS, RECORDS, TABLE = "settings.json", "records", "faces.csv"
# Raised when the same photo and settings would give other files than before.
_VERSION = 1
# Not needed, and change what EMOCA and DECA give where they are there.
_OPTIONAL_ASSETS = ("flame-albedo", "deca-dense-template")
_COLUMNS = (
    "key", "photo", "status", "reason", "face", "left", "top", "right", "bottom", "score",
    "confidence", "yaw", "pitch", "roll", "fit_error",
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """What shapes the results: `shown` to people, `sha256` with the models' bytes."""

    shown: dict[str, Any]
    sha256: str


def settings_of(config: PreprocessConfig, root: Path, photo_frame: bool) -> Settings:
    """The settings under which results stand.

    Args:
        config: of preprocess.
        root: from where paths of models are written down.
        photo_frame: whether pictures are in the photo's frame.
    """
    config = config.model_copy(update={"depth": "mesh"})  # nobody asks for the depth here
    shown = shaping_settings(config, *SHAPING_BUFFERS)
    shown["photo_frame"] = photo_frame
    if has_detail(config):
        known = registry()
        shown["beside"] = [name for name in _OPTIONAL_ASSETS if not missing_files(known[name])]
    made = artefact_hashes(config, root, of_all=True).by_kind
    hashes = [made[kind] for kind in (FACE, "codes", "normals")]
    return Settings(shown, sha256_json([_VERSION, hashes, photo_frame, shown.get("beside")]))


def check_settings(out: Path, settings: Settings, force: bool) -> None:
    """Refuse a folder with results of other settings.

    Args:
        out: the output folder.
        settings: of this call.
        force: take the folder all the same; its photos are then done anew.

    Raises:
        UserError: its results are of other settings, or the file cannot be read.
    """
    path = out / SETTINGS
    if force or not path.is_file():
        return
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        sha256, shown = before["sha256"], before["settings"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(path, "cannot be read", "name another --out, or --force") from error
    if sha256 == settings.sha256:
        return
    differing = [
        f"{name} {shown.get(name)} there and {settings.shown.get(name)} now"
        for name in sorted({*shown, *settings.shown})
        if shown.get(name) != settings.shown.get(name)
    ]
    raise UserError(
        f"--out {out}",
        "holds results of other settings: " + (", ".join(differing) or "other model files"),
        "name another folder, or replace them with --force",
    )


def write_settings(out: Path, settings: Settings) -> None:
    """Write down what a folder's results are made with."""
    write_json(out / SETTINGS, {"sha256": settings.sha256, "settings": settings.shown})


@dataclass
class Record:
    """What there is of one photo.

    Attributes:
        photo: path below the photos folder, with suffix.
        sha256: of its bytes.
        settings: the hash of `Settings`.
        faces: a row of the table each.
        files: paths below the output folder by kind.
    """

    photo: str
    sha256: str
    settings: str
    faces: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, list[str]] = field(default_factory=dict)

    def missing(self, out: Path, kinds: Iterable[str]) -> list[str]:
        """The kinds that are not there whole."""
        return [
            kind
            for kind in kinds
            if kind not in self.files
            or not all((out / name).is_file() for name in self.files[kind])
        ]


def record_path(out: Path, key: str) -> Path:
    """Where the record of a photo lies."""
    return out / RECORDS / f"{key}.json"


def read_record(path: Path) -> Record | None:
    """A record; None where there is none that can be read: its photo is then done anew."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return Record(**{field.name: stored[field.name] for field in fields(Record)})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_record(out: Path, key: str, record: Record) -> None:
    """Write a photo's record, atomically."""
    write_json(record_path(out, key), asdict(record))


def remove_files(out: Path, record: Record, kept: Iterable[str] = ()) -> None:
    """Remove the files of a record, but for those named.

    Raises:
        RunError: one cannot be removed.
    """
    names = {name for group in record.files.values() for name in group} - set(kept)
    for name in sorted(names):
        path = (out / name).resolve()
        if not path.is_relative_to(out.resolve()):
            continue  # somebody edited the record
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise RunError(path, f"cannot be removed ({error.strerror})", "check it") from error


def face_row(saved: SavedFace, photo: str, number: int) -> dict[str, Any]:
    """A face's row of the table."""
    left, top, right, bottom = (round(float(value), 2) for value in saved.face.box)
    yaw, pitch, roll = (round(float(value), 3) for value in saved.scene.head.angles)
    confidence = saved.face.confidence
    return {
        "key": saved.key,
        "photo": photo,
        "status": "ok",
        "face": number,
        "left": left,
        "top": top,
        "right": right,
        "bottom": bottom,
        "score": round(float(saved.face.score), 4),
        "confidence": None if confidence is None else round(float(confidence), 4),
        "yaw": yaw,
        "pitch": pitch,
        "roll": roll,
        "fit_error": round(float(saved.scene.head.error), 5),
    }


def write_table(out: Path, failures: Sequence[Mapping[str, Any]]) -> Path:
    """Write faces.csv: the faces of every record, and the photos that failed in this call."""
    failed = {row["key"] for row in failures}
    rows = [dict(row) for row in failures]
    for path in sorted((out / RECORDS).rglob("*.json")):
        key = path.relative_to(out / RECORDS).as_posix().removesuffix(".json")
        record = read_record(path) if key not in failed else None
        rows += record.faces if record is not None else []
    rows.sort(key=lambda row: (row["photo"], row.get("face") or 0))
    target = out / TABLE
    with atomic_path(target) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, _COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return target
