"""What a preprocess worker is handed: photos to take in, decoded, with the faces known of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sfe_core.arrays import Pixels
from sfe_core.config.corpus_sections import PreprocessConfig
from sfe_core.corpus.artefacts.hashes import ArtefactHashes
from sfe_core.corpus.manifest import OK, Row
from sfe_core.faces.decoding import UndecodableError, read_photo
from sfe_core.faces.detection import Face


@dataclass(frozen=True)
class PhotoJob:
    """A photo to take in.

    Attributes:
        photo: path below photos/, with extension.
        key: its key; with face_choice all that of its first face.
        sha256: of its bytes as last seen; "" where not known.
        wanted: the artefact kinds to write; None means all of the configuration.
        known: faces found and chosen before, in order; detection is then skipped.
    """

    path: Path
    photo: str
    key: str
    sha256: str
    wanted: frozenset[str] | None = None
    known: tuple[Face, ...] | None = None


@dataclass(frozen=True)
class WorkSettings:
    """What a worker takes its photos in with.

    Attributes:
        corpus: where to.
        config: of preprocess.
        hashes: of all that shapes the artefacts.
        threads: that decode ahead of the models.
    """

    corpus: Path
    config: PreprocessConfig
    hashes: ArtefactHashes
    threads: int


@dataclass(frozen=True)
class DecodedPhoto:
    """A photo ready for the models, or why it is not."""

    job: PhotoJob
    sha256: str  # of the bytes that were read; "" where they could not be
    pixels: Pixels | None  # [H, W, 3] RGB; None where it cannot be used
    status: str = OK
    reason: str = ""
    notes: str = ""  # what was done to come to the pixels, see `decoding.ReadPhoto`


def decode_job(job: PhotoJob, config: PreprocessConfig) -> DecodedPhoto:
    """Read and decode one photo; what is wrong with it becomes its status. Safe in threads."""
    sha256 = ""
    try:
        content = job.path.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        read = read_photo(content, config.max_megapixels)
        return DecodedPhoto(job, sha256, read.pixels, notes="; ".join(read.notes))
    except OSError as error:
        return DecodedPhoto(job, sha256, None, "unreadable", str(error.strerror))
    except UndecodableError as error:
        return DecodedPhoto(job, sha256, None, error.status, error.reason)


def faces_of_rows(rows: Sequence[Row]) -> tuple[Face, ...] | None:
    """The faces of a photo's rows as they were found, for `PhotoJob.known`; None if it has none.

    Args:
        rows: all rows of one photo, in any order.
    """
    ordered = sorted(rows, key=lambda row: row.get("face_number") or 1)
    if not ordered or any(row.get("landmarks") is None for row in ordered):
        return None
    return tuple(
        Face(
            (float(left), float(top), float(right), float(bottom)),
            np.asarray(row["landmarks"], np.float32).reshape(68, 2),
            float(row["detection_score"]),
            row.get("confidence"),
            float(row.get("angle") or 0.0),
        )
        for row in ordered
        for left, top, right, bottom in (row["box"],)
    )
