"""How sure one may be that a found face is one and that its landmarks are right.

Independent readings of the same face agree where it is read right: the detector's score, the
landmarks of the mirrored photo, the head fitted to them, and a second detector of another kind
(dlib's network, King, "Max-Margin Object Detection", arXiv:1502.00046). Their weights are fitted
(logistic regression) by `tests/benchmarks/face_confidence.py`, which says what they were fitted on
and how well they tell right from wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from sfe_core.arrays import Pixels
from sfe_core.faces.anny.fitting import fit_heads, inter_ocular
from sfe_core.faces.crop import CropTransform, crop
from sfe_core.faces.detection import Face, UprightDetector
from sfe_core.faces.detectors.dlib_detector import model_path
from sfe_core.faces.landmark_drawing import MIRROR

# The second detector looks at a square of so many times the face's box, at this size.
_SECOND_LOOK, _SECOND_PX = 1.9, 160
_NOT_SEEN = 0.0  # its score where it sees nothing
# Brows are moved onto the picture after the first reading, and left out of the comparison.
_COMPARED = np.r_[0:17, 27:68]


@dataclass(frozen=True)
class Evidence:
    """What is known for and against a face; None where it was not asked.

    Attributes:
        score: of dlib's HOG detector.
        mirror_gap: mean distance between its landmarks and those of the mirrored photo, over the
            distance between the outer eye corners.
        fit_error: of the shipped head to the landmarks, see `HeadFit.error`.
        second: score of dlib's network where it sees the face too, else 0.
    """

    mirror_gap: float
    score: float | None = None
    fit_error: float | None = None
    second: float | None = None


def mirror_gaps(
    detector: UprightDetector, images: Sequence[Pixels], faces: Sequence[Face]
) -> list[float]:
    """`Evidence.mirror_gap` of upright faces, one picture for each."""
    views, boxes, lefts = [], [], []
    for image, face in zip(images, faces, strict=True):
        # All that a reader looks at lies within a box's side of the box.
        left, top, right, bottom = face.box
        reach = face.size
        x0, y0 = max(0, int(left - reach)), max(0, int(top - reach))
        x1 = min(image.shape[1], int(right + reach) + 1)
        y1 = min(image.shape[0], int(bottom + reach) + 1)
        views.append(np.ascontiguousarray(image[y0:y1, x0:x1][:, ::-1]))
        boxes.append((x1 - right, top - y0, x1 - left, bottom - y0))
        lefts.append((x1, y0))
    gaps = []
    for face, points, (x1, y0) in zip(faces, detector.read_many(views, boxes), lefts, strict=True):
        back = (points * (-1, 1) + (x1, y0))[MIRROR]
        distance = np.linalg.norm(back - face.landmarks, axis=1)[_COMPARED].mean()
        gaps.append(float(distance / max(inter_ocular(face.landmarks[None])[0], 1e-6)))
    return gaps


def looked_at_twice(image: Pixels, face: Face, evidence: Evidence) -> Evidence:
    """The evidence with what takes more time: the fitted head, and the second detector."""
    fit = float(fit_heads(face.landmarks[None]).error[0])
    return Evidence(evidence.mirror_gap, evidence.score, fit, _second_score(image, face))


def _second_score(image: Pixels, face: Face) -> float | None:
    """The second detector's score for an upright face; None where it is not installed."""
    network = _load_second()
    if network is None:
        return None
    x, y = np.reshape(face.box, (2, 2)).mean(axis=0).tolist()
    window = CropTransform(x, y, face.size * _SECOND_LOOK)
    view = np.ascontiguousarray(crop(image, window, _SECOND_PX))
    found = [_NOT_SEEN]
    for hit in network(view, 0):
        centre = hit.rect.center()
        if max(abs(centre.x - _SECOND_PX / 2), abs(centre.y - _SECOND_PX / 2)) < _SECOND_PX / 5:
            found.append(float(hit.confidence))
    return max(found)


@lru_cache(maxsize=1)
def _load_second() -> Any:
    path: Path | None = model_path("mmod_human_face_detector.dat")
    try:
        import dlib
    except ImportError:
        return None
    return None if path is None else dlib.cnn_face_detection_model_v1(str(path))


def confidence(evidence: Evidence) -> float:
    """0 to 1: the share of faces with such evidence whose landmarks are right."""
    known = {
        "score": evidence.score,
        "mirror_gap": np.log(max(evidence.mirror_gap, 1e-3)),
        "fit_error": None if evidence.fit_error is None else np.log(max(evidence.fit_error, 1e-3)),
        "second": evidence.second,
    }
    names = tuple(name for name, value in known.items() if value is not None)
    bias, *weights = _WEIGHTS[names]
    logit = bias + sum(
        weight * float(known[name]) for weight, name in zip(weights, names, strict=True)
    )
    return float(1.0 / (1.0 + np.exp(-np.clip(logit, -30.0, 30.0))))


# By the evidence there is: a constant, then a weight for each.
_WEIGHTS: dict[tuple[str, ...], tuple[float, ...]] = {
    ("score", "mirror_gap"): (-16.27, 1.40, -4.02),
    ("score", "mirror_gap", "fit_error"): (-18.29, 1.29, -3.81, -0.77),
    ("score", "mirror_gap", "fit_error", "second"): (-18.32, 1.12, -3.70, -0.82, 0.61),
    ("mirror_gap",): (-16.32, -4.36),
    ("mirror_gap", "fit_error"): (-19.63, -3.99, -1.25),
    ("mirror_gap", "fit_error", "second"): (-19.21, -3.68, -1.17, 1.53),
}
