"""One photo into the corpus: what a preprocess worker does, with no shared state.

Workers import no torch unless a backend needs it, so that they start fast and stay small.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sfe_core.config.model import PreprocessConfig
from sfe_core.corpus.layout import CANVAS, INPUTS, MAP_FOLDERS, artefact
from sfe_core.corpus.manifest import OK
from sfe_core.errors import SfeError
from sfe_core.faces.crop import CropTransform, crop, crop_square, paste
from sfe_core.faces.decoding import UndecodableError, decode_photo
from sfe_core.faces.depth import DepthBackend, load_depth
from sfe_core.faces.detection import Detector, Face, choose_face, load_detector
from sfe_core.faces.fitting import HeadFit, fit_heads
from sfe_core.faces.head import HeadModel
from sfe_core.faces.landmark_drawing import draw_landmarks
from sfe_core.faces.rendering import Camera, Raster, raycast, shade_grey
from sfe_core.files import atomic_path

Row = dict[str, Any]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class PhotoJob:
    """A photo to take in."""

    path: Path
    photo: str  # path below photos/, with extension
    key: str
    sha256: str


@dataclass(frozen=True)
class WorkOrder:
    """Some photos, and all that a worker must know to take them in."""

    jobs: tuple[PhotoJob, ...]
    corpus: Path
    config: PreprocessConfig
    config_hash: str


@dataclass(frozen=True)
class _Found:
    """A face on its way from detection to its pictures; holds the crop, not the photo."""

    job: PhotoJob
    row: Row
    face: Face
    transform: CropTransform
    crop: Pixels  # [S, S, 3]


class _SkippedPhotoError(Exception):
    """A photo that does not enter the corpus."""

    def __init__(self, status: str, reason: str, row: Row) -> None:
        super().__init__(reason)
        self.status, self.reason, self.row = status, reason, row


@lru_cache(maxsize=2)
def _tools(config: PreprocessConfig) -> tuple[Detector, DepthBackend]:
    """The models, loaded once per process."""
    return load_detector(config.detector, config.min_face_px), load_depth(config.depth)


def work(order: WorkOrder) -> list[Row]:
    """Take the photos of an order into the corpus.

    Memory holds one decoded photo at a time, and the crops of the order.

    Returns:
        One manifest row per photo, in the order of the jobs, without labels, caption and split.

    Raises:
        SfeError: something that concerns all photos: a missing model, a full disk.
    """
    _tools(order.config)
    rows: dict[str, Row] = {}
    found: list[_Found] = []
    for job in order.jobs:
        result = _guarded(job, order, lambda job=job: _find(job, order))
        if isinstance(result, _Found):
            found.append(result)
        else:
            rows[job.photo] = result
    if found:
        fits = fit_heads(np.stack([item.face.landmarks for item in found]))
        for place, item in enumerate(found):
            rows[item.job.photo] = _guarded(
                item.job, order, lambda item=item, place=place: _finish(item, fits, place, order)
            )
    return [rows[job.photo] for job in order.jobs]


def _guarded(job: PhotoJob, order: WorkOrder, step: Any) -> Any:
    """Run one photo's step; whatever is wrong with that photo becomes its row."""
    base: Row = {
        "key": job.key,
        "photo": job.photo,
        "photo_sha256": job.sha256,
        "config_hash": order.config_hash,
    }
    try:
        return step()
    except _SkippedPhotoError as skipped:
        return base | skipped.row | {"status": skipped.status, "reason": skipped.reason}
    except SfeError:
        raise
    except Exception as error:  # one odd photo must not end a run over thousands
        return base | {"status": "failed", "reason": f"{type(error).__name__}: {error}"}


def _decode(job: PhotoJob, config: PreprocessConfig) -> Pixels:
    try:
        content = job.path.read_bytes()
    except OSError as error:
        raise _SkippedPhotoError("unreadable", str(error.strerror), {}) from error
    try:
        return decode_photo(content, config.max_megapixels)
    except UndecodableError as error:
        raise _SkippedPhotoError(error.status, error.reason, {}) from error


def _find(job: PhotoJob, order: WorkOrder) -> _Found:
    """Decode, detect, choose, crop."""
    config = order.config
    image = _decode(job, config)
    height, width = image.shape[:2]
    row: Row = {"width": width, "height": height, "face_count": 0}
    faces = _tools(config)[0].detect(image)
    row["face_count"] = len(faces)
    if not faces:
        raise _SkippedPhotoError("no_face", f"{config.detector} found no face", row)
    large = [face for face in faces if face.size >= config.min_face_px]
    if not large:
        largest = max(face.size for face in faces)
        reason = f"largest face {largest:.0f} px, min_face_px {config.min_face_px}"
        raise _SkippedPhotoError("face_too_small", reason, row)
    face = choose_face(large, config.face_choice, width, height)
    transform = crop_square(face.landmarks, face.box, config.crop_rule, config.crop_scale)
    row |= {
        "key": job.key,
        "photo": job.photo,
        "photo_sha256": job.sha256,
        "config_hash": order.config_hash,
        "detection_score": face.score,
        "box": [float(value) for value in face.box],
        "landmarks": face.landmarks.astype(float).ravel().tolist(),
        "crop_x": transform.center_x,
        "crop_y": transform.center_y,
        "crop_side": transform.side,
    }
    return _Found(job, row, face, transform, crop(image, transform, config.crop_size))


def _finish(found: _Found, fits: HeadFit, place: int, order: WorkOrder) -> Row:
    """Render the fitted head, write every picture, complete the row."""
    size = order.config.crop_size
    depth = _tools(order.config)[1]
    raster, scale = render_fit(fits, place, found.transform, size)
    mesh = shade_grey(raster)
    points = found.transform.to_crop(found.face.landmarks, size)
    pictures: dict[str, tuple[str, NDArray[Any]]] = {
        "inputs_sha256": (INPUTS, found.crop),
        "landmarks_sha256": (MAP_FOLDERS["landmarks"], draw_landmarks(points, size)),
        "depth_sha256": (MAP_FOLDERS["depth"], depth.depth(found.crop, raster, scale)),
        "mesh_sha256": (MAP_FOLDERS["mesh"], mesh),
    }
    if order.config.canvas:
        photo = _decode(found.job, order.config)
        pictures["canvas_sha256"] = (CANVAS, paste(photo, mesh, found.transform, raster.hit))
    row = dict(found.row)
    for column, (folder, pixels) in pictures.items():
        row[column] = _write_picture(artefact(order.corpus, folder, found.job.key), pixels)
    yaw, pitch, roll = fits.angles[place].tolist()
    return row | {
        "status": OK,
        "reason": "",
        "fit_error": float(fits.error[place]),
        "yaw": yaw,
        "pitch": pitch,
        "roll": roll,
        "identity_fit": fits.identity[place].astype(float).tolist(),
        "actions": fits.actions[place].astype(float).tolist(),
        "depth_unit": depth.code.unit,
        "depth_low": depth.code.low,
        "depth_high": depth.code.high,
    }


def render_fit(
    fits: HeadFit, place: int, transform: CropTransform, size: int
) -> tuple[Raster, float]:
    """The fitted head as seen in its crop.

    Args:
        fits: heads fitted in photo pixels.
        place: which of them.
        transform: the crop's square.
        size: side of the crop, pixels.

    Returns:
        The raster, size × size, and the crop's pixels per metre on the head.
    """
    head = HeadModel.load()
    # einsum instead of `head.vertices`: a threaded matrix product rounds differently with the
    # number of threads, which 16-bit depth would show.
    vertices = (
        head.mean
        + np.einsum("k,kvc->vc", fits.identity[place], head.identity_basis)
        + np.einsum("k,kvc->vc", fits.actions[place], head.action_deltas)
    )
    scale = float(fits.scale[place]) * size / transform.side
    origin = transform.to_crop(fits.translation[place], size)
    camera = Camera(fits.rotation[place], scale, origin)
    return raycast(camera.project(vertices), head.faces, size, size), scale


def _write_picture(path: Path, pixels: NDArray[Any]) -> str:
    """Write a PNG atomically; the SHA-256 of its bytes."""
    with atomic_path(path) as partial:
        # Level 4 is three times faster than PIL's default and a few per cent larger.
        Image.fromarray(np.ascontiguousarray(pixels)).save(partial, compress_level=4)
        return hashlib.sha256(partial.read_bytes()).hexdigest()


def pictures_of(corpus: Path, key: str, with_canvas: bool) -> Sequence[Path]:
    """Every picture that an ok row has."""
    folders = [INPUTS, *MAP_FOLDERS.values()] + ([CANVAS] if with_canvas else [])
    return [artefact(corpus, folder, key) for folder in folders]
