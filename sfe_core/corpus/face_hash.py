"""A short hash of how a face looks, to find copies: resaved, resized, cut, brightened, mirrored.

The crop is turned and scaled by its landmarks onto the mean head, so that a photo cut or resized
otherwise gives the same patch. Of that patch's discrete cosine transform the signs of the lowest
frequencies are kept (Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions",
2010, there 8 x 8 of the whole picture). Which patch, how many bits and what distance were chosen by
measuring, see `LIKENESS`.
"""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn

from sfe_core.corpus.layout import INPUTS
from sfe_core.corpus.manifest import crop_of
from sfe_core.corpus.picture_store import PictureStore
from sfe_core.errors import SfeError
from sfe_core.faces.head import HeadModel

Pixels = NDArray[np.uint8]
Floats = NDArray[np.floating[Any]]

_FREQUENCIES = 20  # in each direction
_SAMPLES = 4 * _FREQUENCIES  # side of the patch that is transformed
BITS = _FREQUENCIES**2  # the first, the mean brightness, is always 0
# Brows, nose and eyes: the jaw and the mouth move with the expression, and they move the patch.
_FIRM = slice(17, 48)
# The patch in distances of the eyes: brows to chin, with little of what is behind the face.
_PATCH_SIDE, _PATCH_DROP = 2.6, 0.55
# A patch that varies less has nothing to know it by, grey levels.
_LEAST_CONTRAST = 2.0
# Faces that differ in at most this share of their bits are taken for one photo. Measured over
# synthetic portraits: 15 ways of copying differ by 0.060 at most (240 copies), mirroring by 0.098
# (31 of 32 within the limit); one person's expressions in one scene by 0.060 at least (4 of 1,216
# pairs within), different people by 0.172, in one scene and light by 0.125 (none of 530,940).
# Photos of 48 pixels that JPEG was at lose too much for it: 3 of 12 are found.
LIKENESS = 0.085


def face_hash(crop: Pixels, points: Floats) -> str:
    """The hash of a face, `BITS` bits as hexadecimal text; empty where there is nothing to see.

    Args:
        crop: [S, S, 3], the face.
        points: [68, 2] landmarks as (x, y), crop pixels.
    """
    turn, centre, side = _place(points)
    if not (np.isfinite([turn.real, turn.imag, side]).all() and side >= 1):
        return ""
    # Sampled at the patch's own size, then shrunk with antialiasing.
    size = int(np.clip(round(side), _SAMPLES, 1024))
    step = turn / abs(turn) * side / size
    corner = centre - step * complex(size, size) / 2
    affine = (step.real, -step.imag, corner.real, step.imag, step.real, corner.imag)
    patch = Image.fromarray(crop).convert("L")
    patch = patch.transform((size, size), Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC)
    grey = np.asarray(patch.resize((_SAMPLES, _SAMPLES), Image.Resampling.LANCZOS), float)
    if grey.std() < _LEAST_CONTRAST:
        return ""
    lowest = dctn(grey, norm="ortho")[:_FREQUENCIES, :_FREQUENCIES]
    lowest[0, 0] = 0.0
    return np.packbits(lowest.ravel() > 0).tobytes().hex()


def unpacked(hashes: list[str]) -> NDArray[np.uint8]:
    """Hashes as bits, [N, BITS] of 0 and 1."""
    packed = np.frombuffer(bytes.fromhex("".join(hashes)), np.uint8)
    return np.unpackbits(packed.reshape(len(hashes), -1), axis=1)[:, :BITS]


def mirrored(bits: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The bits [N, BITS] of the mirrored faces: odd horizontal frequencies change their sign."""
    odd = np.arange(BITS) % _FREQUENCIES % 2
    return bits ^ odd.astype(np.uint8)


def stored_face_hash(store: PictureStore, row: dict[str, Any]) -> str:
    """The hash from the stored crop of a row with pictures; empty where that cannot be read."""
    try:
        with Image.open(BytesIO(store.read(INPUTS, row["key"]))) as picture:
            crop = np.asarray(picture.convert("RGB"))
    except (SfeError, OSError, SyntaxError):  # PIL raises the last for torn files
        return ""
    points = np.asarray(row["landmarks"], float).reshape(68, 2)
    return face_hash(crop, crop_of(row).to_crop(points, crop.shape[0]))


@lru_cache(maxsize=1)
def _template() -> tuple[Floats, complex]:
    """The firm landmarks of the mean head as complex numbers, in distances of its eyes; their mean.

    The middle between the eyes is 0, y points down.
    """
    mean = HeadModel.load().landmark_basis()[0]
    flat = mean[:, 0] - 1j * mean[:, 1]
    right, left = flat[36:42].mean(), flat[42:48].mean()
    flat = (flat - (left + right) / 2) / abs(left - right)
    return flat[_FIRM], complex(flat[_FIRM].mean())


def _place(points: Floats) -> tuple[complex, complex, float]:
    """The similarity from template to crop: turn and scale, the patch's centre, its side in pixels.

    Least squares over the firm landmarks.
    """
    template, middle = _template()
    found = points[_FIRM, 0] + 1j * points[_FIRM, 1]
    spread = template - middle
    turn = complex(((found - found.mean()) * spread.conj()).sum() / (abs(spread) ** 2).sum())
    centre = complex(found.mean()) + turn * (1j * _PATCH_DROP - middle)
    return turn, centre, abs(turn) * _PATCH_SIDE
