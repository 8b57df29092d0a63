"""ArcFace as InsightFace publishes it, run by onnxruntime, for who put its file in place.

Deng et al. 2019 (https://arxiv.org/abs/1801.07698). Its weights may be used for research that is
not commercial, and are never downloaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from skimage.transform import estimate_transform, warp

from sfe_core.arrays import Doubles, Floats, Pixels
from sfe_core.assets import locate
from sfe_core.errors import UserError
from sfe_core.faces.detection import Face
from sfe_core.files import sha256_file

# Asset to what it is: the two that papers use.
ARCFACES = ("antelopev2", "buffalo-l")
SIDE = 112
# Where both eyes, the tip of the nose and the corners of the mouth stand in what it learnt from,
# pixels; left and right are the picture's.
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655],
     [70.7299, 92.2041]]
)  # fmt: skip
_EYES = (slice(36, 42), slice(42, 48))
_NOSE, _MOUTH = 30, (48, 54)


def five_points(landmarks: Doubles) -> Doubles:
    """Both eyes' centres, the nose's tip and the mouth's corners of 68 landmarks: [5, 2]."""
    eyes = [landmarks[eye].mean(axis=0) for eye in _EYES]
    return np.stack([*eyes, landmarks[_NOSE], *(landmarks[corner] for corner in _MOUTH)])


def align(image: Pixels, landmarks: Doubles) -> Doubles:
    """The face turned, scaled and moved onto `TEMPLATE`: [112, 112, 3], 0 to 255, bilinear."""
    # A landmark counts pixels' centres as .5, the template as whole numbers.
    points = five_points(np.asarray(landmarks, dtype=np.float64)) - 0.5
    to_template = estimate_transform("similarity", points, TEMPLATE)
    cut = warp(image, to_template.inverse, output_shape=(SIDE, SIDE), order=1, preserve_range=True)
    return np.asarray(cut, dtype=np.float64)


class ArcFaceEmbedder:
    """See `identity.IdentityEmbedder`; 512 numbers, compare by the cosine.

    Attributes:
        width: D, as the file has it.
    """

    crop = f"aligned by both eyes, nose and mouth to {SIDE} px"

    def __init__(self, name: str) -> None:
        """Load the file of an asset.

        Args:
            name: of `ARCFACES`.

        Raises:
            UserError: onnxruntime is not installed, the file is not in place, or holds another
                network.
        """
        self.name, path = name, locate(name)
        try:
            import onnxruntime
        except ImportError as error:
            raise UserError(
                f"evaluate.identity: {name}",
                "onnxruntime is not installed",
                "pip install 'sfe[arcface]'",
            ) from error
        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(path), providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # of whatever kind onnxruntime raises
            raise UserError(path, f"is no ONNX network ({error})", "put it there again") from error
        self._input, self.width = _checked(path, self._session)
        self.weights_sha256 = sha256_file(path)

    def embed(self, images: Sequence[Pixels], faces: Sequence[Face]) -> Floats:
        """See `IdentityEmbedder.embed`."""
        found = np.zeros((len(images), self.width))
        for place, (image, face) in enumerate(zip(images, faces, strict=True)):
            levels = (align(image, np.asarray(face.landmarks, np.float64)) - 127.5) / 127.5
            given = np.ascontiguousarray(levels.transpose(2, 0, 1)[None], dtype=np.float32)
            # One by one: a file may be exported for a batch of one.
            (vectors,) = self._session.run(None, {self._input: given})
            found[place] = vectors[0]
        return found


def _checked(path: object, session: Any) -> tuple[str, int]:
    """Name of the input and width of the vector, of a network that takes one aligned face."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    takes = [list(one.shape) for one in inputs]
    gives = [list(one.shape) for one in outputs]
    fits = (
        len(takes) == len(gives) == 1
        and takes[0][1:] == [3, SIDE, SIDE]
        and _any_or_one(takes[0][0])
        and inputs[0].type == "tensor(float)"
        and len(gives[0]) == 2
        and _any_or_one(gives[0][0])
        and isinstance(gives[0][1], int)
    )
    if not fits:
        raise UserError(
            str(path),
            f"takes {takes} and gives {gives}",
            f"expected one face [N, 3, {SIDE}, {SIDE}] and one vector [N, 512]",
        )
    return str(inputs[0].name), int(gives[0][1])


def _any_or_one(size: object) -> bool:
    """Whether a batch of one may be given: its size is open, or 1."""
    return not isinstance(size, int) or size == 1
