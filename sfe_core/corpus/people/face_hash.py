"""A short hash of how a face looks, to find copies: resaved, resized, cut, brightened, mirrored.

The crop is turned and scaled by its landmarks onto the mean head, so that a photo cut, resized or
squeezed otherwise gives the same patch. Of that patch's discrete cosine transform the signs of the
lowest frequencies are kept (Zauner, "Implementation and Benchmarking of Perceptual Image Hash
Functions", 2010, there 8 x 8 of the whole picture). Which patch, how many bits and what distance
were chosen by measuring, see `LIKENESS`.
"""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image
from scipy.fft import dctn

from sfe_core.arrays import Floats, Pixels
from sfe_core.corpus.layout import INPUTS
from sfe_core.corpus.manifest import crop_of, landmarks_of
from sfe_core.corpus.picture_store import PictureStore
from sfe_core.errors import SfeError
from sfe_core.faces.head import HeadModel

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
# synthetic portraits: 15 ways of copying differ by 0.07 at most (240 copies), mirroring by 0.11
# (47 of 48 are within the limit); one person's expressions in one scene by 0.07 at least (4 of
# 1,216 pairs within), different people by 0.16, in one scene and light by 0.125 (none of 253,836).
# Photos of 48 pixels that JPEG was at lose too much for it, and so do equalised ones.
LIKENESS = 0.095


def face_hash(crop: Pixels, points: Floats) -> str:
    """The hash of a face, `BITS` bits as hexadecimal text; empty where there is nothing to see.

    Args:
        crop: [S, S, 3], the face.
        points: [68, 2] landmarks as (x, y), crop pixels.
    """
    across, down, centre = _place(points)
    area = across.real * down.imag - across.imag * down.real
    if not (np.isfinite(area) and abs(area) >= 1):
        return ""
    # Sampled at the patch's own size, then shrunk with antialiasing.
    size = int(np.clip(round(abs(area) ** 0.5), _SAMPLES, 1024))
    across, down, corner = across / size, down / size, centre - (across + down) / 2
    affine = (across.real, down.real, corner.real, across.imag, down.imag, corner.imag)
    patch = Image.fromarray(crop).convert("L")
    patch = patch.transform((size, size), Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC)
    grey = np.asarray(patch.resize((_SAMPLES, _SAMPLES), Image.Resampling.LANCZOS), float)
    if grey.std() < _LEAST_CONTRAST:
        return ""
    lowest = dctn(grey, norm="ortho")[:_FREQUENCIES, :_FREQUENCIES]
    lowest[0, 0] = 0.0
    return np.packbits(lowest.ravel() > 0).tobytes().hex()


def unpacked(hashes: list[str]) -> Pixels:
    """Hashes as bits, [N, BITS] of 0 and 1."""
    packed = np.frombuffer(bytes.fromhex("".join(hashes)), np.uint8)
    return np.unpackbits(packed.reshape(len(hashes), -1), axis=1)[:, :BITS]


def mirrored(bits: Pixels) -> Pixels:
    """The bits [N, BITS] of the mirrored faces: odd horizontal frequencies change their sign."""
    odd = np.arange(BITS) % _FREQUENCIES % 2
    return bits ^ odd.astype(np.uint8)


def stored_face_hash(store: PictureStore, row: dict[str, Any]) -> str:
    """The hash from the stored crop of a row with pictures; empty where that cannot be read."""
    try:
        with Image.open(BytesIO(store.read(INPUTS, row["key"]))) as picture:
            crop = np.asarray(picture.convert("RGB"))
        points = landmarks_of(row)
    except (SfeError, OSError, SyntaxError):  # PIL raises the last for torn files
        return ""
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


def _place(points: Floats) -> tuple[complex, complex, complex]:
    """The patch in the crop: its upper and its left edge, and its centre.

    Turned, scaled and moved by least squares over the firm landmarks, across and down by scales of
    their own: photos are often squeezed into squares.
    """
    template, middle = _template()
    found = points[_FIRM, 0] + 1j * points[_FIRM, 1]
    spread = template - middle
    turn = complex(((found - found.mean()) * spread.conj()).sum())
    turn = turn / abs(turn) if turn else 0j
    upright = (found - found.mean()) * np.conj(turn)
    across = float((upright.real * spread.real).sum() / (spread.real**2).sum())
    down = float((upright.imag * spread.imag).sum() / (spread.imag**2).sum())
    offset = 1j * _PATCH_DROP - middle
    centre = complex(found.mean()) + turn * complex(across * offset.real, down * offset.imag)
    return turn * across * _PATCH_SIDE, turn * down * 1j * _PATCH_SIDE, centre
