"""Photos into the corpus: what a preprocess worker does, with no shared state.

Workers import no torch unless a backend needs it, so that they start fast and stay small.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, TypeVar

from sfe_core.config.corpus_sections import PreprocessConfig
from sfe_core.corpus.artefacts.face_scene import FaceScene
from sfe_core.corpus.artefacts.given_maps import (
    read_given_buffers,
    read_given_codes,
    read_given_mesh,
)
from sfe_core.corpus.artefacts.kinds import ARTEFACTS, BUFFERS, ArtefactKind, artefacts_of
from sfe_core.corpus.artefacts.writing import write_artefact
from sfe_core.corpus.manifest import Row
from sfe_core.corpus.preprocessing.face_rows import (
    buffer_column,
    face_columns,
    photo_columns,
    scene_columns,
)
from sfe_core.corpus.preprocessing.photo_jobs import DecodedPhoto, PhotoJob, WorkSettings
from sfe_core.corpus.preprocessing.scenes import (
    SkippedPhotoError,
    large_faces,
    photo_detector,
    pixels_of,
    scene_of,
)
from sfe_core.errors import SfeError
from sfe_core.faces.backends import load_depth, load_reconstructor
from sfe_core.faces.depth import DepthBackend
from sfe_core.faces.detection import Detector, Face, choose_faces
from sfe_core.faces.detectors.turning import reconstruct_faces
from sfe_core.faces.reconstruction import Reconstruction, Reconstructor

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class _Found:
    """A face on its way from detection to its pictures."""

    photo: DecodedPhoto
    row: Row
    face: Face


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


def take_in(photos: Sequence[DecodedPhoto], settings: WorkSettings) -> list[Row]:
    """Take decoded photos into the corpus: detect, reconstruct, draw, write.

    Every model sees all of them together; what becomes of one does not depend on the others.

    Args:
        photos: as many as may be held in memory.
        settings: of the worker.

    Returns:
        Manifest rows in the order of the photos, at least one each and, with face_choice all,
        one per face (keys `key`, `key#2`, …), without labels, caption and split. Where a job
        wants only some artefacts, a row has only their columns and those of the face.

    Raises:
        SfeError: something that concerns all photos: a missing model, a full disk.
    """
    detector, reconstructor, depth = _tools(settings.config)
    rows: dict[str, list[Row]] = {photo.job.photo: [] for photo in photos}
    found: list[_Found] = []
    for photo, faces in zip(photos, _detect(photos, detector), strict=True):
        result = _guarded(partial(_choose, photo, faces, settings, detector))
        if isinstance(result, list):
            found += result
        else:
            rows[photo.job.photo].append(photo_columns(photo, settings) | result)
    heads = _together(lambda items: _reconstruct(items, reconstructor), found)
    scenes = [
        _guarded(partial(_scene, item, head, settings))
        for item, head in zip(found, heads, strict=True)
    ]
    _fill_depth(found, scenes, depth, settings.config)
    for place, item in enumerate(found):
        result = _guarded(partial(_finish, item, scenes[place], depth, settings))
        rows[item.photo.job.photo].append(item.row | result)
        scenes[place] = None  # pictures as large as the photo are let go of once written
    return [row for photo in photos for row in rows[photo.job.photo]]


def _guarded(step: Callable[[], Any]) -> Any:
    """Run one photo's step; whatever is wrong with that photo becomes status and reason."""
    try:
        return step()
    except SkippedPhotoError as skipped:
        return skipped.row | {"status": skipped.status, "reason": skipped.reason}
    except SfeError:
        raise
    except Exception as error:  # one odd photo must not end a run over thousands
        return {"status": "failed", "reason": f"{type(error).__name__}: {error}"}


def _together(
    step: Callable[[list[Item]], Sequence[Answer]], items: list[Item]
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
) -> Iterator[Sequence[Face] | Exception | None]:
    """Faces of the photos; None where a photo has no pixels, or its faces are known."""
    searched = [photo for photo in photos if photo.pixels is not None and photo.job.known is None]
    answers = iter(
        _together(lambda some: detector.detect_many([pixels_of(p) for p in some]), searched)
    )
    for photo in photos:
        seen = photo.pixels is not None and photo.job.known is None
        yield next(answers) if seen else None


def _choose(
    photo: DecodedPhoto,
    answer: Sequence[Face] | Exception | None,
    settings: WorkSettings,
    detector: Detector,
) -> list[_Found]:
    """The faces of a photo that enter the corpus, with what is known of them so far."""
    pixels = pixels_of(photo)
    height, width = pixels.shape[:2]
    row: Row = {"width": width, "height": height}
    chosen: Sequence[Face] | None = photo.job.known
    if chosen is None:
        faces = _value(answer) or []
        row |= {"face_count": len(faces), "face_scores": [face.score for face in faces]}
        try:
            large = large_faces(faces, pixels, settings.config, detector)
        except SkippedPhotoError as skipped:
            skipped.row |= row
            raise
        chosen = choose_faces(large, settings.config.face_choice, width, height)
    base = photo_columns(photo, settings)
    found = []
    for number, face in enumerate(chosen, start=1):
        key = base["key"] if number == 1 else f"{base['key']}#{number}"
        own = {"key": key, "face_number": number}
        found.append(_Found(photo, base | row | own | face_columns(face), face))
    return found


def _reconstruct(items: list[_Found], reconstructor: Reconstructor) -> list[Reconstruction]:
    return reconstruct_faces(
        reconstructor, [pixels_of(item.photo) for item in items], [item.face for item in items]
    )


def _scene(item: _Found, head: Reconstruction | Exception, settings: WorkSettings) -> FaceScene:
    """The face in its photo, all its pictures still to be made but for crop and raster."""
    pixels = pixels_of(item.photo)
    height, width = pixels.shape[:2]
    corpus, key = settings.corpus, item.row["key"]
    given = read_given_mesh(corpus, key, width, height)
    scene = scene_of(pixels, item.face, _value(head), settings.config, given)
    scene.given_buffers = read_given_buffers(corpus, key, width, height)
    scene.given_codes = read_given_codes(corpus, key)
    _ = scene.depth_view  # crop and raster: what cannot be drawn fails here, not in a batch
    return scene


def _wanted(job: PhotoJob, config: PreprocessConfig) -> Sequence[ArtefactKind]:
    """The artefact kinds to write for a photo's faces."""
    if job.wanted is None:
        return artefacts_of(config)
    return [kind for kind in ARTEFACTS.values() if kind.name in job.wanted]


def _fill_depth(
    found: list[_Found], scenes: list[Any], depth: DepthBackend, config: PreprocessConfig
) -> None:
    """Set the depth of the scenes that have one to be made."""
    asked = [
        place
        for place, item in enumerate(found)
        if isinstance(scenes[place], FaceScene)
        and any(kind.needs_depth for kind in _wanted(item.photo.job, config))
    ]
    answers = _together(depth.depth_many, [scenes[place].depth_view for place in asked])
    for place, answer in zip(asked, answers, strict=True):
        if isinstance(answer, Exception):
            scenes[place] = _guarded(partial(_value, answer))
        else:
            scenes[place].depth = answer
            scenes[place].depth_of_mesh = depth.of_mesh


def _finish(
    item: _Found, scene: FaceScene | Row, depth: DepthBackend, settings: WorkSettings
) -> Row:
    """Write the wanted artefacts of a face; the rest of its row."""
    if not isinstance(scene, FaceScene):
        return scene
    key = item.row["key"]
    row: Row = {}
    wanted = _wanted(item.photo.job, settings.config)
    for kind in wanted:
        row[kind.column] = write_artefact(kind.path(settings.corpus, key), kind.content(scene))
    if any(kind.name in BUFFERS for kind in wanted):
        row["buffer_faults"] = buffer_column(scene)
    return row | scene_columns(scene, depth)
