"""What every detector of faces gives, and which of a photo's faces counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sfe_core.arrays import Floats, Pixels
from sfe_core.errors import UserError
from sfe_core.faces.crop import Box


@dataclass(frozen=True)
class Face:
    """A detected face, in photo pixels (x right, y down, pixel centres at .5)."""

    box: Box  # left, top, right, bottom
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

    def smallest_px(self, width: int, height: int) -> float:
        """Size of the smallest face that is looked for in a photo of this size, pixels."""
        ...


class UprightDetector(Detector, Protocol):
    """A detector of faces that stand upright or nearly so; `any_angle` looks for the others."""

    score_is_hog: bool  # scores are those of dlib's HOG detector

    def glance_many(self, images: Sequence[Pixels]) -> list[list[Face]]:
        """`detect_many` at the cost of small pictures: small faces may be passed over."""
        ...

    def glanced_px(self, width: int, height: int) -> float:
        """Size of the smallest face that a glance at a picture of this size shows, pixels."""
        ...

    def read_many(self, images: Sequence[Pixels], boxes: Sequence[Box]) -> list[Floats]:
        """Landmarks [68, 2] of a face by its box, quickly: one picture and one box for each."""
        ...


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
