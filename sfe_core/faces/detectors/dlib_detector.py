"""dlib's HOG face detector and its 68-point cascade of regression trees."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sfe_core.arrays import Floats, Pixels
from sfe_core.errors import UserError
from sfe_core.faces.crop import Box, CropTransform, crop
from sfe_core.faces.detection import Face
from sfe_core.faces.detectors.brow_refinement import refine_brows

# dlib's HOG detector is trained on 80-pixel windows and finds nothing smaller.
_HOG_WINDOW_PX = 80
# Photos are searched at this size first, where larger faces are found at little cost.
_FIRST_SEARCH_PX = 512
# Searches end at so many pixels, where one takes about a second: faces of 100 pixels in photos of
# 24 megapixels are found, and no photo costs more.
_LAST_SEARCH_PIXELS = 16_000_000
# A glance is at most so long.
_GLANCE_PX = 640
# Cloth and clocks score up to 0.3 or so; where a face is surer than this, weaker hits are dropped.
_SURE_SCORE = 0.5
# The predictor answers in whole pixels: faces are brought to this size for sub-pixel landmarks.
_PREDICTOR_BOX_PX = 320
# The boxes it is asked with: the found one, moved and resized by shares of its side. The mean of
# the answers is steadier than one answer (an ensemble over the cascade's starting shape).
_BOX_JITTER: tuple[tuple[float, float, float], ...] = (
    (0.0, 0.0, 1.0),
    (0.03, 0.0, 1.04),
    (-0.03, 0.0, 0.97),
    (0.0, 0.03, 0.97),
    (0.0, -0.03, 1.04),
)
_QUICK_ANSWERS = 2
# Boxes of which one covers so much of the other show the same face.
SAME_FACE = 0.5


class DlibDetector:
    """dlib's HOG face detector and its 68-point cascade of regression trees, brows refined.

    Kazemi and Sullivan, "One Millisecond Face Alignment with an Ensemble of Regression Trees",
    CVPR 2014; weights from the face_recognition_models package. The photo is searched at
    growing sizes until a face turns up, so that large faces cost little.

    Args:
        min_face_px: no enlargement beyond what a face of this size needs.
        every: search at all sizes, even where a sure face is found.
    """

    score_is_hog = True

    def __init__(self, min_face_px: int = 32, every: bool = False) -> None:
        self.min_face_px = max(1, min_face_px)
        self.every = every
        self._hog, self._predictor = load_dlib()

    def detect(self, image: Pixels) -> list[Face]:
        """See `Detector.detect`."""
        return self._read(image, self.boxes(image))

    def detect_many(self, images: Sequence[Pixels]) -> list[list[Face]]:
        """See `Detector.detect_many`."""
        return [self.detect(image) for image in images]

    def glance_many(self, images: Sequence[Pixels]) -> list[list[Face]]:
        """See `UprightDetector.glance_many`."""
        return [self._read(image, self._glance(image)) for image in images]

    def glanced_px(self, width: int, height: int) -> float:
        """See `UprightDetector.glanced_px`."""
        smallest = max(self.min_face_px, _HOG_WINDOW_PX * max(width, height) / _GLANCE_PX)
        return _HOG_WINDOW_PX / _search_scales(width, height, smallest)[-1]

    def read_many(self, images: Sequence[Pixels], boxes: Sequence[Box]) -> list[Floats]:
        """See `UprightDetector.read_many`; the brows stay where the cascade puts them."""
        return [
            self._landmarks(image, np.array(box), quick=True)
            for image, box in zip(images, boxes, strict=True)
        ]

    def smallest_px(self, width: int, height: int) -> float:
        """See `Detector.smallest_px`."""
        return _HOG_WINDOW_PX / _search_scales(width, height, self.min_face_px)[-1]

    def boxes(self, image: Pixels) -> list[tuple[Floats, float]]:
        """Boxes [4] with scores in a [H, W, 3] uint8 photo.

        Doubtful ones only if none is sure, or if every face is asked for.
        """
        found: list[tuple[Floats, float]] = []
        for scale in _search_scales(image.shape[1], image.shape[0], self.min_face_px):
            found = _merged(found, self._search(image, scale))
            if not self.every and any(score >= _SURE_SCORE for _, score in found):
                break
        found = found or self._search_padded(image)
        return found if self.every else _surest(found)

    def _glance(self, image: Pixels) -> list[tuple[Floats, float]]:
        """Boxes [4] with scores, as far as a picture of `_GLANCE_PX` shows them."""
        height, width = image.shape[:2]
        return self._search(image, _HOG_WINDOW_PX / self.glanced_px(width, height))

    def _read(self, image: Pixels, boxes: list[tuple[Floats, float]]) -> list[Face]:
        """The faces in some boxes, largest first."""
        faces = [
            Face(tuple(box.tolist()), self._landmarks(image, box), score) for box, score in boxes
        ]
        return sorted(faces, key=lambda face: (-face.size, face.box))

    def _search(self, image: Pixels, scale: float) -> list[tuple[Floats, float]]:
        """Boxes [4] in photo pixels with their scores, found at one scale."""
        height, width = image.shape[:2]
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        if min(size) < _HOG_WINDOW_PX * 0.5:
            return []
        view = image
        if size != (width, height):
            view = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
        found, scores, _ = self._hog.run(np.ascontiguousarray(view), 0, 0.0)
        back = np.array([width / size[0], height / size[1]] * 2)
        return [
            (np.array([r.left(), r.top(), r.right() + 1, r.bottom() + 1]) * back, float(score))
            for r, score in zip(found, scores, strict=True)
        ]

    def _search_padded(self, image: Pixels) -> list[tuple[Floats, float]]:
        """One more search with a border round the photo, for faces that its edge cuts."""
        pad = max(image.shape[:2]) // 4
        scale = min(1.0, _FIRST_SEARCH_PX / max(image.shape[:2]))
        if min(image.shape[:2]) * scale < _HOG_WINDOW_PX * 0.5:
            return []  # its border alone would be seen
        padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)), mode="edge")
        return [(box - pad, score) for box, score in self._search(padded, scale)]

    def _landmarks(self, image: Pixels, box: Floats, quick: bool = False) -> Floats:
        """Landmarks [68, 2] float32 in photo pixels; `quick`: fewer answers, brows as they come."""
        import dlib

        box_px = _PREDICTOR_BOX_PX // 2 if quick else _PREDICTOR_BOX_PX
        side = float(max(box[2] - box[0], box[3] - box[1]))
        x, y = ((box[:2] + box[2:]) / 2).tolist()
        window = CropTransform(x, y, side * 2.0)
        view = np.ascontiguousarray(crop(image, window, box_px * 2))
        answers = []
        for right, down, grow in _BOX_JITTER[: _QUICK_ANSWERS if quick else None]:
            half = box_px * grow / 2
            x = box_px * (1 + right)
            y = box_px * (1 + down)
            edges = [round(v) for v in (x - half, y - half, x + half - 1, y + half - 1)]
            shape = self._predictor(view, dlib.rectangle(*edges))
            answers.append([(point.x + 0.5, point.y + 0.5) for point in shape.parts()])
        points = np.mean(np.array(answers, dtype=np.float64), axis=0)
        if not quick:
            points = refine_brows(view, points)
        return window.to_photo(points, view.shape[0]).astype(np.float32)


def _surest(boxes: list[tuple[Floats, float]]) -> list[tuple[Floats, float]]:
    """Drop the doubtful hits where there are sure ones."""
    sure = [(box, score) for box, score in boxes if score >= _SURE_SCORE]
    return sure or boxes


def _merged(
    before: list[tuple[Floats, float]], new: list[tuple[Floats, float]]
) -> list[tuple[Floats, float]]:
    """Boxes of two searches, of those on one face the surer; what was sure before stays."""
    kept: list[tuple[Floats, float]] = []
    sure = [found for found in before if found[1] >= _SURE_SCORE]
    others = [found for found in before if found[1] < _SURE_SCORE] + new
    for box, score in sure + sorted(others, key=lambda found: -found[1]):
        if all(overlap(box, other) < SAME_FACE for other, _ in kept):
            kept.append((box, score))
    return kept


def overlap(first: Sequence[float] | Floats, second: Sequence[float] | Floats) -> float:
    """What two boxes share, over the area of the smaller."""
    first, second = np.asarray(first, float), np.asarray(second, float)
    sides = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    smaller = min(np.prod(box[2:] - box[:2]) for box in (first, second))
    return float(np.prod(sides.clip(0)) / max(smaller, 1e-9))


def _search_scales(width: int, height: int, smallest_px: float) -> list[float]:
    """Resizing factors to search a photo at, from cheap to thorough."""
    longest = max(width, height)
    last = min(_HOG_WINDOW_PX / smallest_px, (_LAST_SEARCH_PIXELS / (width * height)) ** 0.5)
    scale = min(1.0, _FIRST_SEARCH_PX / longest)
    scales = [scale]
    while scale < last:
        scale = min(scale * 2.0, last)
        scales.append(scale)
    return [s for s in scales if min(width, height) * s >= _HOG_WINDOW_PX * 0.5] or scales[:1]


@lru_cache(maxsize=1)
def load_dlib() -> tuple[Any, Any]:
    """The HOG detector and the 68-point predictor; once per process."""
    try:
        import dlib
    except ImportError as error:
        raise UserError(
            "preprocess.detector: dlib", "dlib is not installed", "pip install 'sfe[offline]'"
        ) from error
    return dlib.get_frontal_face_detector(), dlib.shape_predictor(str(predictor_path()))


def predictor_path() -> Path:
    """The weights of dlib's 68-point cascade, as face_recognition_models installs them.

    Raises:
        UserError: that package is not installed.
    """
    path = model_path("shape_predictor_68_face_landmarks.dat")
    if path is None:
        raise UserError(
            "preprocess.detector: dlib",
            "the 68-point weights of face_recognition_models are not installed",
            "pip install 'sfe[offline]'",
        )
    return path


def model_path(name: str) -> Path | None:
    """A file of the face_recognition_models package; None where it is not installed."""
    # The package is only located: importing it needs pkg_resources, which new setuptools lack.
    spec = importlib.util.find_spec("face_recognition_models")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "models" / name
        if path.is_file():
            return path
    return None
