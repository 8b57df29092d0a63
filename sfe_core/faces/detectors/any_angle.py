"""Faces at any angle, with a confidence: what a detector of upright faces is made into.

Photos are first seen as they lie. Where no sure face turns up, they are turned in steps, what is
found is looked at closely at its own angle, and of all that was seen of one face the surest stands.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from sfe_core.arrays import Floats, Pixels
from sfe_core.faces.backends import load_detector
from sfe_core.faces.crop import CropTransform, crop
from sfe_core.faces.detection import Detector, Face, UprightDetector
from sfe_core.faces.detectors.confidence import Evidence, confidence, looked_at_twice, mirror_gaps
from sfe_core.faces.detectors.dlib_detector import SAME_FACE, overlap
from sfe_core.faces.detectors.turning import Turn

# Landmarks are right up to about 30° of tilt, see tests/benchmarks/results/face_angles.md.
_STEP_DEG = 30
_MOST_TILT_DEG = 30.0
# A face this near to a quarter turn stands in a turned photo, and keeps its own tilt.
_QUARTER_DEG = 20.0
_TURNED_PX = 512
# Photos taken sideways are searched for smaller faces at this size, at 0.5 s a turn or less.
_QUARTERED_PX = 1280
# From here on a face needs no further look, and a photo no turning.
_SURE = 0.9
# What is less likely a face than this is none; of a turned photo more is asked, as each turn is
# another chance to be wrong.
_LEAST, _LEAST_TURNED = 0.1, 0.5
# Close looks at one photo: so many places, more where every face counts, at so many angles each.
_PLACES, _EVERY_PLACE, _ANGLES = 6, 32, 2
_WINDOW, _WINDOW_PX = 2.4, 640


def load_any_angle(
    name: str = "dlib",
    min_face_px: int = 32,
    box_detector: str = "sfd",
    device: str | None = None,
    every_size: bool = False,
    every_angle: bool = False,
) -> Detector:
    """A detector of faces at any angle.

    Args:
        name, min_face_px, box_detector, device: see `load_detector`, and its errors.
        every_size, every_angle: look on, even where a sure face is found.
    """
    upright = load_detector(name, min_face_px, box_detector, device, every_size)
    return AnyAngleDetector(upright, every_angle)


class AnyAngleDetector:
    """See `Detector`; its faces have a confidence, and an angle where they do not stand upright.

    Args:
        upright: what finds upright faces.
        every: turn every photo, even where a sure face is found.
    """

    def __init__(self, upright: UprightDetector, every: bool = False) -> None:
        self._upright, self._every = upright, every

    def detect(self, image: Pixels) -> list[Face]:
        """See `Detector.detect`."""
        return self.detect_many([image])[0]

    def detect_many(self, images: Sequence[Pixels]) -> list[list[Face]]:
        """See `Detector.detect_many`."""
        found = self._upright.detect_many(images)
        pictures = [image for image, faces in zip(images, found, strict=True) for _ in faces]
        rated = iter(self._rate(pictures, [face for faces in found for face in faces]))
        return [
            self._settle(image, [next(rated) for _ in faces])
            for image, faces in zip(images, found, strict=True)
        ]

    def smallest_px(self, width: int, height: int) -> float:
        """See `Detector.smallest_px`."""
        return self._upright.smallest_px(width, height)

    def _rate(self, images: Sequence[Pixels], faces: Sequence[Face]) -> list[Face]:
        """Upright faces with their confidence, one picture for each."""
        rated = []
        seen = self._evidence(images, faces)
        for image, face, evidence in zip(images, faces, seen, strict=True):
            value = confidence(evidence)
            if value < _SURE or not _stands(face):
                value = confidence(looked_at_twice(image, face, evidence))
            rated.append(replace(face, confidence=value))
        return rated

    def _evidence(self, images: Sequence[Pixels], faces: Sequence[Face]) -> list[Evidence]:
        """What a first look says of upright faces, one picture for each."""
        gaps = mirror_gaps(self._upright, images, faces)
        return [
            Evidence(gap, face.score if self._upright.score_is_hog else None)
            for face, gap in zip(faces, gaps, strict=True)
        ]

    def _settle(self, image: Pixels, faces: list[Face]) -> list[Face]:
        """The faces of a photo, of which `faces` are those seen as it lies; largest first."""
        if not any(map(_is_sure, faces)):
            # A box beside the face gives landmarks beside it: a closer look may find a better one.
            doubtful = sorted(faces, key=lambda face: -face.score)[:_PLACES]
            closer = [self._look_upright(image, face) for face in doubtful]
            faces = _surest(faces + [face for face in closer if face is not None])
        if self._every or not any(map(_is_sure, faces)):
            faces = _surest(faces + self._turned(image, faces))
        if not any((face.confidence or 0.0) >= _LEAST_TURNED for face in faces):
            faces = _surest(faces + self._quartered(image))
        if not self._every and faces:
            # A larger or more central hit that is likely no face must not stand before one.
            least = min(_LEAST_TURNED, max(face.confidence or 0.0 for face in faces))
            faces = [face for face in faces if (face.confidence or 0.0) >= least]
        return sorted(filter(_is_likely, faces), key=lambda face: (-face.size, face.box))

    def _turned(self, image: Pixels, upright: list[Face]) -> list[Face]:
        """The faces seen when the photo is turned, rated at their own angles."""
        shrink = min(1.0, _TURNED_PX / max(image.shape[:2]))
        height, width = (max(1, round(side * shrink)) for side in image.shape[:2])
        small = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BOX))
        turns = [Turn(angle, width, height) for angle in range(_STEP_DEG, 360, _STEP_DEG)]
        views = [turn.picture(small) for turn in turns]
        seen = [
            (turn, view, face)
            for turn, view, faces in zip(
                turns, views, self._upright.glance_many(views), strict=True
            )
            for face in faces
        ]
        evidence = self._evidence([view for _, view, _ in seen], [face for *_, face in seen])
        back = np.array([image.shape[1] / width, image.shape[0] / height])
        hits = [
            replace(_scaled(turn.face_to_photo(face), back), confidence=confidence(known))
            for (turn, _, face), known in zip(seen, evidence, strict=True)
        ]
        settled = [face for face in upright if _is_sure(face)]
        hits = [hit for hit in hits if not any(_same(hit, face) for face in settled)]
        looks = []
        for place in _places(hits)[: _EVERY_PLACE if self._every else _PLACES]:
            angles: list[float] = []
            for hit in place:
                angle = _upright_angle(hit.angle + _tilt_on(hit))
                if angle not in angles and len(angles) < _ANGLES:
                    angles.append(angle)
                    looks.append(self._look(image, hit, angle))
        return [face for face in looks if face is not None]

    def _quartered(self, image: Pixels) -> list[Face]:
        """Faces too small for a glance, with the photo turned as a camera may have been."""
        height, width = image.shape[:2]
        shrink = min(1.0, _TURNED_PX / max(width, height))
        small = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        if self.smallest_px(width, height) >= self._upright.glanced_px(*small) / shrink:
            return []
        shrink = min(1.0, _QUARTERED_PX / max(width, height))
        size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
        seen = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))
        back = np.array([width, height]) / size
        found: list[Face] = []
        for angle in (90.0, 180.0, -90.0):
            turn = Turn(angle, *size)
            view = turn.picture(seen)
            hits = self._upright.detect(view)
            for face in self._rate([view] * len(hits), hits):
                found.append(_scaled(turn.face_to_photo(face), back))
        return found

    def _look_upright(self, image: Pixels, hit: Face) -> Face | None:
        """A face seen closely at its own angle, as its second reading has it."""
        first = self._look(image, hit, _upright_angle(_tilt(hit)))
        if first is None:
            return None
        angle = _upright_angle(_tilt(first))
        again = None if angle == first.angle else self._look(image, first, angle)
        return again or first

    def _look(self, image: Pixels, hit: Face, angle: float) -> Face | None:
        """A face seen closely with the photo turned by an angle; None where none is there."""
        x, y = np.reshape(hit.box, (2, 2)).mean(axis=0).tolist()
        window = CropTransform(x, y, hit.size * _WINDOW, angle)
        side = min(_WINDOW_PX, max(round(window.side), 1))
        view = crop(image, window, side)
        wanted = side / _WINDOW
        near = [
            face
            for face in self._upright.detect(view)
            if np.abs(np.reshape(face.box, (2, 2)).mean(axis=0) - side / 2).max() < wanted / 2
            and 0.5 < face.size / wanted < 2.0
        ]
        if not near:
            return None
        (face,) = self._rate([view], [max(near, key=lambda face: face.score)])
        return _out_of(window, face, side)


def _surest(faces: Iterable[Face]) -> list[Face]:
    """Of all that was seen of one face the surest; what was read askew counts half."""

    def worth(face: Face) -> float:
        return (face.confidence or 0.0) * (1.0 if _stands(face) else 0.5)

    kept: list[Face] = []
    for face in sorted(faces, key=worth, reverse=True):
        if not any(_same(face, other) for other in kept):
            kept.append(face)
    return kept


def _same(first: Face, second: Face) -> bool:
    return overlap(first.box, second.box) >= SAME_FACE


def _places(hits: list[Face]) -> list[list[Face]]:
    """Hits that show one face, by falling confidence."""
    places: list[list[Face]] = []
    for hit in sorted(hits, key=lambda hit: -(hit.confidence or 0.0)):
        for place in places:
            if _same(place[0], hit):
                place.append(hit)
                break
        else:
            places.append([hit])
    return places


def _is_likely(face: Face) -> bool:
    return (face.confidence or 0.0) >= (_LEAST_TURNED if face.angle else _LEAST)


def _is_sure(face: Face) -> bool:
    return _stands(face) and (face.confidence or 0.0) >= _SURE


def _stands(face: Face) -> bool:
    """Whether a face stands upright enough, at its angle, to be read right."""
    return abs(_tilt_on(face)) <= _MOST_TILT_DEG


def _tilt(face: Face) -> float:
    """Degrees clockwise by which the line through the eyes is turned."""
    left, right = face.landmarks[36:42].mean(axis=0), face.landmarks[42:48].mean(axis=0)
    return math.degrees(math.atan2(*(right - left)[::-1]))


def _tilt_on(face: Face) -> float:
    """`_tilt` beyond the angle that is already known."""
    return (_tilt(face) - face.angle + 180.0) % 360.0 - 180.0


def _upright_angle(tilt: float) -> float:
    """The angle by which a photo is turned for a face of this tilt, in (-180, 180]."""
    quarter = round(tilt / 90.0) * 90.0
    angle = quarter if abs(tilt - quarter) <= _QUARTER_DEG else float(round(tilt))
    return 180.0 - (180.0 - angle) % 360.0


def _scaled(face: Face, factors: Floats) -> Face:
    box = np.asarray(face.box) * np.tile(factors, 2)
    return replace(face, box=tuple(box.tolist()), landmarks=face.landmarks * factors)


def _out_of(window: CropTransform, face: Face, side: int) -> Face:
    """A face found in a crop of `side` pixels, in its photo."""
    x, y = window.to_photo(np.reshape(face.box, (2, 2)).mean(axis=0), side)
    half = np.array([face.box[2] - face.box[0], face.box[3] - face.box[1]]) / 2
    across, down = half * (window.side / side)
    return replace(
        face,
        box=(float(x - across), float(y - down), float(x + across), float(y + down)),
        landmarks=window.to_photo(face.landmarks, side).astype(np.float32),
        angle=window.angle,
    )
