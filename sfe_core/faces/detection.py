"""Faces and their 68 landmarks in a photo, by dlib or by face-alignment's networks."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sfe_core.errors import UserError
from sfe_core.faces.brow_refinement import refine_brows
from sfe_core.faces.crop import CropTransform, crop

Floats = NDArray[np.floating[Any]]
Pixels = NDArray[np.uint8]

DETECTORS: tuple[str, ...] = ("dlib", "face-alignment")


@dataclass(frozen=True)
class Face:
    """A detected face, in photo pixels (x right, y down, pixel centres at .5)."""

    box: tuple[float, float, float, float]  # left, top, right, bottom
    landmarks: Floats  # [68, 2] float32, iBUG order
    score: float  # the detector's own confidence, higher is surer
    confidence: float | None = None  # 0 to 1, that the landmarks are right, see `confidence`
    angle: float = (
        0.0  # degrees clockwise by which it stands turned; the box is upright all the same
    )

    @property
    def size(self) -> float:
        """The larger side of the box, pixels."""
        left, top, right, bottom = self.box
        return max(right - left, bottom - top)


class Detector(Protocol):
    """Anything that finds faces."""

    def detect(self, image: Pixels) -> list[Face]:
        """Faces in a [H, W, 3] uint8 RGB photo, largest first; empty where there is none."""
        ...

    def detect_many(self, images: Sequence[Pixels]) -> list[list[Face]]:
        """`detect` for many photos of any sizes; a photo's faces do not depend on its company."""
        ...


def load_detector(
    name: str = "dlib", min_face_px: int = 32, box_detector: str = "sfd", device: str | None = None
) -> Detector:
    """Build a detector.

    Args:
        name: one of `DETECTORS`.
        min_face_px: faces down to this size are worth enlarging the photo for, pixels.
        box_detector: for face-alignment, see `detection_fan.BOX_DETECTORS`.
        device: torch device for networks; None means CUDA where there is one.

    Raises:
        UserError: unknown name, or its library or weights are not installed.
    """
    if name == "dlib":
        return DlibDetector(min_face_px)
    if name == "face-alignment":
        from sfe_core.faces.detection_fan import FaceAlignmentDetector

        return FaceAlignmentDetector(device, box_detector, min_face_px)
    raise UserError("detector", f"{name!r} is unknown", f"choose one of {', '.join(DETECTORS)}")


def choose_faces(faces: list[Face], choice: str, width: int, height: int) -> list[Face]:
    """The faces that count in a photo with one or more faces.

    Args:
        faces: at least one.
        choice: "largest" box, "central" (nearest to the photo's centre), "best" score, or "all".
        width, height: of the photo.

    Returns:
        One face; for "all" every one, largest first.

    Raises:
        UserError: unknown choice.
    """
    if choice == "all":
        return sorted(faces, key=lambda face: (-face.size, face.box))
    return [choose_face(faces, choice, width, height)]


def choose_face(faces: list[Face], choice: str, width: int, height: int) -> Face:
    """The face that counts in a photo, see `choose_faces`; "all" names no single one."""
    if choice == "best":
        return max(faces, key=lambda face: face.score)
    if choice == "central":
        middle = np.array([width, height]) / 2
        return min(
            faces,
            key=lambda face: float(np.hypot(*(np.reshape(face.box, (2, 2)).mean(0) - middle))),
        )
    if choice == "largest":
        return max(faces, key=lambda face: face.size)
    raise UserError("preprocess.face_choice", f"{choice!r}", "allowed: largest, central, best, all")


# dlib's HOG detector is trained on 80-pixel windows and finds nothing smaller.
_HOG_WINDOW_PX = 80
# Photos are searched at this size first, where larger faces are found at little cost.
_FIRST_SEARCH_PX = 512
# Beyond this no enlargement: a search costs about 0.4 s at this size.
_LAST_SEARCH_PX = 2560
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


class DlibDetector:
    """dlib's HOG face detector and its 68-point cascade of regression trees, brows refined.

    Kazemi and Sullivan, "One Millisecond Face Alignment with an Ensemble of Regression Trees",
    CVPR 2014; weights from the face_recognition_models package. The photo is searched at
    growing sizes until a face turns up, so that large faces cost little.

    Args:
        min_face_px: no enlargement beyond what a face of this size needs.
    """

    def __init__(self, min_face_px: int = 32) -> None:
        self.min_face_px = max(1, min_face_px)
        self._hog, self._predictor = _load_dlib()

    def detect(self, image: Pixels) -> list[Face]:
        """See `Detector.detect`."""
        faces = [
            Face(tuple(box.tolist()), self._landmarks(image, box), score)
            for box, score in self.boxes(image)
        ]
        return sorted(faces, key=lambda face: (-face.size, face.box))

    def detect_many(self, images: Sequence[Pixels]) -> list[list[Face]]:
        """See `Detector.detect_many`."""
        return [self.detect(image) for image in images]

    def boxes(self, image: Pixels) -> list[tuple[Floats, float]]:
        """Boxes [4] with scores in a [H, W, 3] uint8 photo; doubtful ones only if none is sure."""
        return _surest(self._boxes(image))

    def _boxes(self, image: Pixels) -> list[tuple[Floats, float]]:
        """Boxes [4] with scores from the first search that is sure, else from the last hit."""
        found: list[tuple[Floats, float]] = []
        for scale in self._search_scales(image):
            found = self._search(image, scale) or found
            if any(score >= _SURE_SCORE for _, score in found):
                return found
        return found or self._search_padded(image)

    def _search_scales(self, image: Pixels) -> list[float]:
        """Resizing factors to search at, from cheap to thorough."""
        longest = max(image.shape[:2])
        last = min(_HOG_WINDOW_PX / self.min_face_px, _LAST_SEARCH_PX / longest)
        scale = min(1.0, _FIRST_SEARCH_PX / longest)
        scales = [scale]
        while scale < last:
            scale = min(scale * 2.0, last)
            scales.append(scale)
        return [s for s in scales if min(image.shape[:2]) * s >= _HOG_WINDOW_PX * 0.5] or scales[:1]

    def _search(self, image: Pixels, scale: float) -> list[tuple[Floats, float]]:
        """Boxes [4] in photo pixels with their scores, found at one scale."""
        height, width = image.shape[:2]
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
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
            return []
        padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)), mode="edge")
        return [(box - pad, score) for box, score in self._search(padded, scale)]

    def _landmarks(self, image: Pixels, box: Floats) -> Floats:
        """Landmarks [68, 2] float32 in photo pixels."""
        import dlib

        side = float(max(box[2] - box[0], box[3] - box[1]))
        window = CropTransform(*((box[:2] + box[2:]) / 2).tolist(), side * 2.0)
        view = np.ascontiguousarray(crop(image, window, _PREDICTOR_BOX_PX * 2))
        answers = []
        for right, down, grow in _BOX_JITTER:
            half = _PREDICTOR_BOX_PX * grow / 2
            x = _PREDICTOR_BOX_PX * (1 + right)
            y = _PREDICTOR_BOX_PX * (1 + down)
            edges = [round(v) for v in (x - half, y - half, x + half - 1, y + half - 1)]
            shape = self._predictor(view, dlib.rectangle(*edges))
            answers.append([(point.x + 0.5, point.y + 0.5) for point in shape.parts()])
        points = refine_brows(view, np.mean(np.array(answers, dtype=np.float64), axis=0))
        return window.to_photo(points, view.shape[0]).astype(np.float32)


def _surest(boxes: list[tuple[Floats, float]]) -> list[tuple[Floats, float]]:
    """Drop the doubtful hits where there are sure ones."""
    sure = [(box, score) for box, score in boxes if score >= _SURE_SCORE]
    return sure or boxes


@lru_cache(maxsize=1)
def _load_dlib() -> tuple[Any, Any]:
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
    # The package is only located: importing it needs pkg_resources, which new setuptools lack.
    spec = importlib.util.find_spec("face_recognition_models")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "models" / "shape_predictor_68_face_landmarks.dat"
        if path.is_file():
            return path
    raise UserError(
        "preprocess.detector: dlib",
        "the 68-point weights of face_recognition_models are not installed",
        "pip install 'sfe[offline]'",
    )
