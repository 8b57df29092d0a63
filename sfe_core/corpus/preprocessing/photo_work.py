"""Photos into the corpus: what a preprocess worker does, with no shared state.

Workers import no torch unless a backend needs it, so that they start fast and stay small.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sfe_core.config.corpus_sections import PreprocessConfig
from sfe_core.corpus.artefacts.face_scene import CONTENTS, NEEDS_DEPTH, FaceScene
from sfe_core.corpus.artefacts.given_maps import read_given_mesh
from sfe_core.corpus.artefacts.kinds import ARTEFACTS, artefacts_of, has_detail
from sfe_core.corpus.artefacts.quality import bad_light, measure_pictures
from sfe_core.corpus.artefacts.writing import write_artefact
from sfe_core.corpus.manifest import OK
from sfe_core.corpus.people.face_hash import face_hash
from sfe_core.corpus.preprocessing.photo_jobs import DecodedPhoto, PhotoJob, WorkOrder, decode_job
from sfe_core.errors import SfeError
from sfe_core.faces.backends import load_depth, load_reconstructor
from sfe_core.faces.crop import CropTransform
from sfe_core.faces.crop_choice import crop_photo, invented_share
from sfe_core.faces.depth import DepthBackend
from sfe_core.faces.detection import Detector, Face, choose_faces
from sfe_core.faces.detectors.any_angle import load_any_angle
from sfe_core.faces.detectors.turning import reconstruct_faces
from sfe_core.faces.reconstruction import Reconstruction, Reconstructor

Row = dict[str, Any]
Pixels = NDArray[np.uint8]
Item = TypeVar("Item")
Answer = TypeVar("Answer")

# Photos held decoded at a time by `work`: at most so many, of at most so many pixels together.
_BATCH_PHOTOS = 16
_BATCH_PIXELS = 32_000_000


@dataclass(frozen=True)
class _Found:
    """A face on its way from detection to its pictures."""

    photo: DecodedPhoto
    row: Row
    face: Face


class _SkippedPhotoError(Exception):
    """A photo that does not enter the corpus."""

    def __init__(self, status: str, reason: str, row: Row) -> None:
        super().__init__(reason)
        self.status, self.reason, self.row = status, reason, row


@lru_cache(maxsize=2)
def _tools(config: PreprocessConfig) -> tuple[Detector, Reconstructor, DepthBackend]:
    """The models, loaded once per process."""
    return (
        photo_detector(config),
        load_reconstructor(
            config.reconstruction, model=config.reconstruction_model, flame=config.flame
        ),
        load_depth(config.depth, config.depth_input),
    )


def photo_detector(config: PreprocessConfig) -> Detector:
    """The detector for photos as people have them, see `load_any_angle`.

    Raises:
        UserError: its library or weights are not installed.
    """
    return load_any_angle(
        config.detector,
        config.min_face_px,
        config.box_detector,
        # The largest face turns up first; any other choice is one among faces of all sizes.
        every_size=config.face_choice != "largest",
        every_angle=config.face_choice == "all",
    )


def work(order: WorkOrder) -> list[Row]:
    """Decode the photos of an order and take them in, see `take_in`.

    Memory holds a few decoded photos at a time, whatever the order's length.
    """
    rows: list[Row] = []
    batch: list[DecodedPhoto] = []
    for job in order.jobs:
        batch.append(decode_job(job, order.config))
        pixels = sum(photo.pixels.size // 3 for photo in batch if photo.pixels is not None)
        if len(batch) == _BATCH_PHOTOS or pixels > _BATCH_PIXELS:
            rows += take_in(batch, order)
            batch = []
    return rows + take_in(batch, order)


def take_in(photos: Sequence[DecodedPhoto], order: WorkOrder) -> list[Row]:
    """Take decoded photos of an order into the corpus: detect, reconstruct, draw, write.

    Every model sees all of them together; what becomes of one does not depend on the others.

    Args:
        photos: as many as may be held in memory.
        order: theirs.

    Returns:
        Manifest rows in the order of the photos, at least one each and, with face_choice all,
        one per face (keys `key`, `key#2`, …), without labels, caption and split. Where a job
        wants only some artefacts, a row has only their columns and those of the face.

    Raises:
        SfeError: something that concerns all photos: a missing model, a full disk.
    """
    detector, reconstructor, depth = _tools(order.config)
    rows: dict[str, list[Row]] = {photo.job.photo: [] for photo in photos}
    found: list[_Found] = []
    for photo, faces in zip(photos, _detect(photos, detector), strict=True):
        result = _guarded(lambda photo=photo, faces=faces: _choose(photo, faces, order))
        if isinstance(result, list):
            found += result
        else:
            rows[photo.job.photo].append(_base(photo, order) | result)
    heads = _together(lambda items: _reconstruct(items, reconstructor), found)
    scenes = [
        _guarded(lambda item=item, head=head: _scene(item, head, order))
        for item, head in zip(found, heads, strict=True)
    ]
    _fill_depth(found, scenes, depth)
    for place, item in enumerate(found):
        result = _guarded(lambda item=item, place=place: _finish(item, scenes[place], depth, order))
        rows[item.photo.job.photo].append(item.row | result)
        scenes[place] = None  # pictures as large as the photo are let go of once written
    return [row for photo in photos for row in rows[photo.job.photo]]


def _base(photo: DecodedPhoto, order: WorkOrder) -> Row:
    return {
        "key": photo.job.key,
        "photo": photo.job.photo,
        "photo_sha256": photo.sha256,
        "config_hash": order.config_hash,
        "photo_notes": photo.notes or None,
    }


def _guarded(step: Callable[[], Any]) -> Any:
    """Run one photo's step; whatever is wrong with that photo becomes status and reason."""
    try:
        return step()
    except _SkippedPhotoError as skipped:
        return skipped.row | {"status": skipped.status, "reason": skipped.reason}
    except SfeError:
        raise
    except Exception as error:  # one odd photo must not end a run over thousands
        return {"status": "failed", "reason": f"{type(error).__name__}: {error}"}


def _together(
    step: Callable[[list[Item]], list[Answer]], items: list[Item]
) -> list[Answer | Exception]:
    """A model's answers for all items at once; if that fails, one by one, errors as answers."""
    if not items:
        return []
    try:
        return list(step(items))
    except SfeError:
        raise
    except Exception as error:
        if len(items) == 1:
            return [error]
        return [answer for item in items for answer in _together(step, [item])]


def _value(answer: Answer | Exception) -> Answer:
    if isinstance(answer, Exception):
        raise answer
    return answer


def _detect(
    photos: Sequence[DecodedPhoto], detector: Detector
) -> Iterator[list[Face] | Exception | None]:
    """Faces of the photos; None where a photo has no pixels, or its faces are known."""
    searched = [photo for photo in photos if photo.pixels is not None and photo.job.known is None]
    answers = iter(_together(lambda some: detector.detect_many([p.pixels for p in some]), searched))
    for photo in photos:
        seen = photo.pixels is not None and photo.job.known is None
        yield next(answers) if seen else None


def _choose(
    photo: DecodedPhoto, answer: list[Face] | Exception | None, order: WorkOrder
) -> list[_Found]:
    """The faces of a photo that enter the corpus, with what is known of them so far."""
    if photo.pixels is None:
        raise _SkippedPhotoError(photo.status, photo.reason, {})
    height, width = photo.pixels.shape[:2]
    row: Row = {"width": width, "height": height}
    chosen: Sequence[Face] | None = photo.job.known
    if chosen is None:
        faces = _value(answer) or []
        row["face_count"] = len(faces)
        row["face_scores"] = [face.score for face in faces]
        if not faces:
            reason = no_face_reason(order.config, row) + bad_light(photo.pixels)
            raise _SkippedPhotoError("no_face", reason, row | {"confidence": 0.0})
        chosen = choose_faces(
            _large_enough(faces, order.config, row), order.config.face_choice, width, height
        )
    base = _base(photo, order)
    found = []
    for number, face in enumerate(chosen, start=1):
        own = {
            "key": base["key"] if number == 1 else f"{base['key']}#{number}",
            "face_number": number,
            "detection_score": face.score,
            "confidence": face.confidence,
            "angle": face.angle,
            "box": [float(value) for value in face.box],
            "landmarks": face.landmarks.astype(float).ravel().tolist(),
        }
        found.append(_Found(photo, base | row | own, face))
    return found


def no_face_reason(config: PreprocessConfig, row: Row) -> str:
    """Why a photo of a width and height has no face, with the size that was looked for."""
    smallest = _tools(config)[0].smallest_px(row["width"], row["height"])
    if smallest <= config.min_face_px:
        return f"{config.detector} found no face"
    return (
        f"{config.detector} found no face of {math.ceil(smallest)} px or more, the smallest it "
        f"looks for in {row['width']}x{row['height']} pixels (min_face_px {config.min_face_px})"
    )


def _large_enough(faces: list[Face], config: PreprocessConfig, row: Row) -> list[Face]:
    large = [face for face in faces if face.size >= config.min_face_px]
    if not large:
        largest = max(face.size for face in faces)
        reason = f"largest face {largest:.0f} px, min_face_px {config.min_face_px}"
        surest = max(face.confidence or 0.0 for face in faces)
        raise _SkippedPhotoError("face_too_small", reason, row | {"confidence": surest})
    return large


def _reconstruct(items: list[_Found], reconstructor: Reconstructor) -> list[Reconstruction]:
    return reconstruct_faces(
        reconstructor, [item.photo.pixels for item in items], [item.face for item in items]
    )


def square_of(
    face: Face, width: int, height: int, config: PreprocessConfig
) -> tuple[CropTransform, str]:
    """The square to cut for a face in a photo of that size, and the rule that gave it."""
    return crop_photo(
        face.landmarks,
        face.box,
        (width, height),
        config.crop_rule,
        config.crop_scale,
        face.angle,
        config.tight_photos == "as-is",
    )


def _scene(item: _Found, head: Reconstruction | Exception, order: WorkOrder) -> FaceScene:
    """The face in its photo, all its pictures still to be made but for crop and raster."""
    config = order.config
    height, width = item.photo.pixels.shape[:2]
    face = item.face
    square, rule = square_of(face, width, height, config)
    scene = FaceScene(
        photo=item.photo.pixels,
        landmarks=face.landmarks,
        transform=square,
        crop_rule=rule,
        size=config.crop_size,
        head=_value(head),
        detailed=has_detail(config),
        given_mesh=read_given_mesh(order.corpus, item.row["key"], width, height),
    )
    _ = scene.depth_view  # crop and raster: what cannot be drawn fails here, not in a batch
    return scene


def _wanted(job: PhotoJob, config: PreprocessConfig) -> list[str]:
    """The artefact kinds to write for a photo's faces."""
    if job.wanted is None:
        return [kind.name for kind in artefacts_of(config)]
    return [name for name in ARTEFACTS if name in job.wanted]


def _fill_depth(found: list[_Found], scenes: list[Any], depth: DepthBackend) -> None:
    """Set the depth of the scenes that have one to be made."""
    asked = [
        place
        for place, item in enumerate(found)
        if isinstance(scenes[place], FaceScene)
        and (item.photo.job.wanted is None or NEEDS_DEPTH & item.photo.job.wanted)
    ]
    answers = _together(depth.depth_many, [scenes[place].depth_view for place in asked])
    for place, answer in zip(asked, answers, strict=True):
        if isinstance(answer, Exception):
            scenes[place] = _guarded(lambda answer=answer: _value(answer))
        else:
            scenes[place].depth = answer
            scenes[place].depth_of_mesh = depth.of_mesh


def _finish(item: _Found, scene: FaceScene | Row, depth: DepthBackend, order: WorkOrder) -> Row:
    """Write the wanted artefacts of a face; the rest of its row."""
    if not isinstance(scene, FaceScene):
        return scene
    key = item.row["key"]
    row: Row = {}
    for name in _wanted(item.photo.job, order.config):
        kind = ARTEFACTS[name]
        row[kind.column] = write_artefact(kind.path(order.corpus, key), CONTENTS[name](scene))
    stored = None if scene.depth is None else scene.depth.crop
    row |= measure_pictures(scene.crop, scene.drawn_landmarks, stored, scene.mesh, scene.points)
    row["face_hash"] = face_hash(scene.crop, scene.points)
    if scene.depth is not None:
        row |= {
            "depth_unit": depth.code.unit,
            "depth_low": depth.code.low,
            "depth_high": depth.code.high,
        }
    return row | _head_columns(scene)


def _head_columns(scene: FaceScene) -> Row:
    """What the manifest says of crop and head."""
    head, transform = scene.head, scene.transform
    height, width = scene.photo.shape[:2]
    yaw, pitch, roll = head.angles
    codes = {
        column: head.codes[name].astype(float).tolist() if name in head.codes else None
        for column, name in (("identity_fit", "identity"), ("actions", "actions"))
    }
    return codes | {
        "status": OK,
        "reason": "",
        "crop_x": transform.center_x,
        "crop_y": transform.center_y,
        "crop_side": transform.side,
        "crop_rule": scene.crop_rule,
        "invented_border": invented_share(transform, width, height),
        "fit_error": head.error,
        "yaw": yaw,
        "pitch": pitch,
        "roll": roll if not transform.angle else (roll - transform.angle + 180) % 360 - 180,
    }
