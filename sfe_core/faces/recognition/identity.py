"""Who is it: a vector per face, near for photos of one person and far for others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from sfe_core.arrays import Doubles, Floats, Pixels
from sfe_core.assets import locate
from sfe_core.assets.reference import ModelReference
from sfe_core.errors import UserError
from sfe_core.faces.crop import CROP_RULES, crop, crop_around
from sfe_core.faces.detection import Face
from sfe_core.faces.recognition.arcface import ARCFACES, ArcFaceEmbedder
from sfe_core.faces.recognition.faceres import FaceresEmbedder
from sfe_core.faces.recognition.tiny_identity import load_identity_net
from sfe_core.files import sha256_file

EMBEDDERS: tuple[str, ...] = ("dlib", "tiny-identity", "faceres", *ARCFACES)


class IdentityEmbedder(Protocol):
    """Anything that turns faces into vectors of identity.

    Attributes:
        name: as in `EMBEDDERS`.
        weights_sha256: of its file.
        width: D, of a vector.
        crop: how a face is cut out before, in words.
    """

    name: str
    weights_sha256: str
    width: int
    crop: str

    def embed(self, images: Sequence[Pixels], faces: Sequence[Face]) -> Floats:
        """[N, D] for N pictures [H, W, 3] uint8 RGB and one face in each; not normalised."""
        ...


class DlibEmbedder:
    """dlib's ResNet-29 (King 2017), 128 numbers; trained with a metric loss on three million faces.

    Its author calls two photos one person where the Euclidean distance is below 0.6, which finds
    99.38 % of LFW's pairs right (http://dlib.net/face_recognition.py.html).
    """

    name = "dlib"
    width = 128
    input_px = 150
    crop = f"aligned by its 68 landmarks to {input_px} px"

    def __init__(self) -> None:
        """Raises: UserError: dlib or its weights are not installed."""
        path = locate("dlib-face-recognition")
        try:
            import dlib
        except ImportError as error:
            raise UserError(
                "evaluate.identity: dlib", "dlib is not installed", "pip install 'sfe[offline]'"
            ) from error
        self._dlib = dlib
        self._network = dlib.face_recognition_model_v1(str(path))
        self.weights_sha256 = sha256_file(path)

    def embed(self, images: Sequence[Pixels], faces: Sequence[Face]) -> Floats:
        """See `IdentityEmbedder.embed`."""
        if not images:
            return np.zeros((0, self.width))
        return np.array(
            [
                # One by one: the library gives the interpreter away during a face, and batches
                # bring nothing on processors.
                self._network.compute_face_descriptor(
                    np.ascontiguousarray(image), self._marked(face)
                )
                for image, face in zip(images, faces, strict=True)
            ],
            dtype=np.float64,
        )

    @classmethod
    def cut_px(cls, landmarks: Doubles) -> float:
        """Side of the square that it cuts out round 68 landmarks [68, 2], in their unit.

        Below `input_px` pixels the face is enlarged to what it works on. Needs dlib.
        """
        import dlib

        # The library rounds to whole pixels.
        fine = 1000.0 / max(float(np.ptp(landmarks, axis=0).max()), 1e-6)
        points = [dlib.point(round(x), round(y)) for x, y in (landmarks * fine).tolist()]
        found = dlib.full_object_detection(dlib.rectangle(0, 0, 1, 1), points)
        # The margin is that of its own descriptor.
        chip = dlib.get_face_chip_details(found, cls.input_px, 0.25)
        return float(chip.rect.width()) / fine

    def _marked(self, face: Face) -> Any:
        box = self._dlib.rectangle(*(round(float(edge)) for edge in face.box))
        points = [self._dlib.point(round(float(x)), round(float(y))) for x, y in face.landmarks]
        return self._dlib.full_object_detection(box, points)


class TinyEmbedder:
    """This project's own network: it knows synthetic people only, and needs no library.

    Its vectors have length 1: two photos of one person are told from others by their cosine.
    """

    name = "tiny-identity"

    def __init__(self, name_or_path: str | Path = "tiny-identity") -> None:
        """Raises: UserError: its weights are missing."""
        self._network = load_identity_net(name_or_path)
        self.width = self._network.width
        side = self._network.input_px
        self.crop = f"cut out round its 68 landmarks as preprocess crops, {side} px"
        self.weights_sha256 = ModelReference(str(name_or_path)).sha256

    def embed(self, images: Sequence[Pixels], faces: Sequence[Face]) -> Floats:
        """See `IdentityEmbedder.embed`."""
        if not images:
            return np.zeros((0, self.width))
        side, rule = self._network.input_px, CROP_RULES["landmarks"]
        cut = [
            crop(image, crop_around(face.landmarks, rule.scale), side)
            for image, face in zip(images, faces, strict=True)
        ]
        x = torch.from_numpy(np.stack(cut)).permute(0, 3, 1, 2).float().div(127.5).sub(1)
        with torch.inference_mode():
            vectors: Floats = self._network(x).double().numpy()
        return vectors


def load_embedder(name: str) -> IdentityEmbedder:
    """The embedder of that name.

    Raises:
        UserError: unknown, or its library or weights are not installed.
    """
    if name == "dlib":
        return DlibEmbedder()
    if name == TinyEmbedder.name:
        return TinyEmbedder()
    if name == FaceresEmbedder.name:
        return FaceresEmbedder()
    if name in ARCFACES:
        return ArcFaceEmbedder(name)
    raise UserError("evaluate.identity", f"{name!r} is unknown", f"known: {', '.join(EMBEDDERS)}")
