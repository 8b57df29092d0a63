"""Photos turned so that a tilted face stands upright, and what was found there put back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from sfe_core.arrays import Floats, Pixels
from sfe_core.faces.crop import Box, turn_of, turn_points
from sfe_core.faces.detection import Face
from sfe_core.faces.reconstruction import Reconstruction, Reconstructor
from sfe_core.faces.rendering import Camera, rotation_matrix


@dataclass(frozen=True)
class Turn:
    """A photo turned back about its middle, on a canvas that holds all of it.

    Attributes:
        angle: degrees clockwise by which upright things of the canvas stand in the photo.
        width, height: of the photo, pixels.
    """

    angle: float
    width: int
    height: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the canvas."""
        cosine, sine = (abs(part) for part in turn_of(self.angle))
        wide = self.width * cosine + self.height * sine
        return int(np.ceil(wide - 1e-6)), int(
            np.ceil(self.width * sine + self.height * cosine - 1e-6)
        )

    def picture(self, photo: Pixels) -> Pixels:
        """The turned photo [H, W, 3]; black beyond it. Quarter turns move whole pixels."""
        if self.angle % 90 == 0:
            return np.ascontiguousarray(np.rot90(photo, round(self.angle / 90)))
        cosine, sine = turn_of(self.angle)
        x, y = self.to_photo(np.zeros(2))
        matrix = (cosine, -sine, float(x), sine, cosine, float(y))
        turned = Image.fromarray(photo).transform(
            self.size, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC
        )
        return np.asarray(turned)

    def to_photo(self, points: Floats) -> Floats:
        """Points [..., 2] of the canvas, in photo pixels."""
        middle = np.array([self.width, self.height]) / 2
        return turn_points(points - np.array(self.size) / 2, self.angle) + middle

    def to_canvas(self, points: Floats) -> Floats:
        """Photo points [..., 2] in pixels of the canvas."""
        middle = np.array([self.width, self.height]) / 2
        return turn_points(points - middle, -self.angle) + np.array(self.size) / 2

    def face_to_photo(self, face: Face) -> Face:
        """A face found on the canvas, in the photo; its box keeps its size about its middle."""
        return replace(
            face,
            box=_moved(face.box, self.to_photo),
            landmarks=self.to_photo(face.landmarks).astype(np.float32),
            angle=self.angle,
        )

    def face_to_canvas(self, face: Face) -> Face:
        """The inverse of `face_to_photo`."""
        return replace(
            face,
            box=_moved(face.box, self.to_canvas),
            landmarks=self.to_canvas(face.landmarks).astype(np.float32),
            angle=0.0,
        )

    def head_to_photo(self, head: Reconstruction) -> Reconstruction:
        """A head seen on the canvas, in the photo; its surface stays as seen upright."""
        camera = head.camera
        yaw, pitch, roll = head.angles
        return replace(
            head,
            camera=Camera(
                rotation_matrix(0, 0, self.angle) @ camera.rotation,
                camera.scale,
                self.to_photo(np.asarray(camera.translation)),
            ),
            angles=(yaw, pitch, (roll + self.angle + 180.0) % 360.0 - 180.0),
            landmarks=self.to_photo(head.landmarks),
        )


def _moved(box: Box, move: Callable[[Floats], Floats]) -> Box:
    """A box of the same size round its middle's new place."""
    left, top, right, bottom = box
    x, y = move(np.array([left + right, top + bottom]) / 2).tolist()
    half_width, half_height = (right - left) / 2, (bottom - top) / 2
    return x - half_width, y - half_height, x + half_width, y + half_height


def reconstruct_faces(
    reconstructor: Reconstructor, photos: Sequence[Pixels], faces: Sequence[Face]
) -> list[Reconstruction]:
    """Heads behind faces, those of turned faces as the reconstructor sees them upright.

    Args:
        reconstructor: the backend.
        photos: one per face [H, W, 3]; the same array may stand there several times.
        faces: in their photos.

    Returns:
        Heads in photo pixels, in that order.
    """
    turns = [
        Turn(face.angle, photo.shape[1], photo.shape[0]) if face.angle else None
        for photo, face in zip(photos, faces, strict=True)
    ]
    seen = [
        face if turn is None else turn.face_to_canvas(face)
        for face, turn in zip(faces, turns, strict=True)
    ]
    heads = reconstructor.reconstruct(
        [
            photo if turn is None else turn.picture(photo)
            for photo, turn in zip(photos, turns, strict=True)
        ],
        np.stack([face.landmarks for face in seen]),
        np.array([face.box for face in seen]),
    )
    return [
        head if turn is None else turn.head_to_photo(head)
        for head, turn in zip(heads, turns, strict=True)
    ]
