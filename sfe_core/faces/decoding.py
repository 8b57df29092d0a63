"""Photo files to pixels: whatever people keep in photo folders, as 8-bit upright RGB."""

from __future__ import annotations

import importlib.util
import io
import warnings
from functools import lru_cache
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, TiffImagePlugin

from sfe_core.arrays import Pixels
from sfe_core.faces.colour import to_srgb
from sfe_core.file_kinds import HEAD_BYTES, kind_of

# The TIFF tag whose 0 says that the least value is white.
_PHOTOMETRIC = 262
# What shows through transparent pixels: white, as on a page.
BACKDROP = (255, 255, 255, 255)


class UndecodableError(Exception):
    """A photo that cannot be used; `status` is `unreadable` or `too_large`, the text says why."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class ReadPhoto(NamedTuple):
    """A photo's pixels, and what was done to come to them.

    Attributes:
        pixels: [H, W, 3] uint8 sRGB, upright.
        notes: what a user would not see at a glance: colours converted, frames left out.
    """

    pixels: Pixels
    notes: tuple[str, ...] = ()


def decode_photo(content: bytes, max_megapixels: float = 100.0) -> Pixels:
    """The pixels of `read_photo`, [H, W, 3] uint8 RGB."""
    return read_photo(content, max_megapixels).pixels


def read_photo(content: bytes, max_megapixels: float = 100.0) -> ReadPhoto:
    """Decode a picture file's bytes, whatever its name says it is.

    Greyscale, palette, CMYK, 16-bit and floating-point pictures become 8-bit RGB by fixed rules
    (16 bits are divided by 257; nothing is stretched to its own range, see `_from_floats`), colour
    profiles are applied, transparency is laid on white, of an animation the first frame counts,
    and the EXIF rotation is applied.

    Args:
        content: the file's bytes.
        max_megapixels: larger pictures are refused before they are decoded.

    Raises:
        UndecodableError: empty, torn, not an image, of an unknown pixel format, or too large.
    """
    if not content:
        raise UndecodableError("unreadable", "the file is empty")
    try:
        with LENIENT:
            return _decode(content, max_megapixels)
    except UndecodableError:
        raise
    except Exception as error:  # torn files raise a dozen unrelated types, by format
        reason = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, Image.UnidentifiedImageError):
            kind = kind_of(content[:HEAD_BYTES])
            reason = f"{kind.name} that cannot be read" if kind.picture else f"it is {kind.name}"
        raise UndecodableError("unreadable", reason) from error


class _Lenient:
    """Inside, PIL neither refuses large pictures nor warns; several threads may be inside.

    Both are switches of the whole process: the first thread in turns them, the last one out
    turns them back.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0
        self._limit: int | None = None
        self._warnings = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside > 1:
                return
            # The limit is checked by `_decode`, against the user's own setting.
            self._limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            self._warnings = warnings.catch_warnings()
            self._warnings.__enter__()
            warnings.simplefilter("ignore")  # PIL warns of odd metadata that plays no part here

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                Image.MAX_IMAGE_PIXELS = self._limit
                self._warnings.__exit__(None, None, None)


LENIENT = _Lenient()
"""Held while PIL opens pictures that may be larger than it likes."""


def open_picture(content: bytes) -> Image.Image:
    """A picture file as PIL opens it, nothing decoded yet.

    Raises:
        UndecodableError: it needs a reader that is not there, or none can be had.
        OSError, SyntaxError, ValueError: it is torn, or no picture.
    """
    kind = kind_of(content[:HEAD_BYTES])
    if kind.name == "an HEIC":
        _register_heif()
    elif kind.name == "a raw camera file":
        raise UndecodableError("unreadable", "it is a raw camera file: export it as JPEG or TIFF")
    return Image.open(io.BytesIO(content))


def _decode(content: bytes, max_megapixels: float) -> ReadPhoto:
    try:
        file = open_picture(content)
    except Image.UnidentifiedImageError:
        if kind_of(content[:HEAD_BYTES]).name != "a TIFF":
            raise
        return ReadPhoto(_decode_tiff(content, max_megapixels))
    _check_size(*file.size, max_megapixels)
    file.load()
    notes = []
    if (frames := getattr(file, "n_frames", 1)) > 1:
        notes.append(f"the first of {frames} frames")
    # PIL turns such pictures over where they have 8 bits, and leaves wider ones negative.
    negative = (
        isinstance(file, TiffImagePlugin.TiffImageFile)
        and file.tag_v2.get(_PHOTOMETRIC) == 0
        and file.mode[0] in "IF"
    )
    eight = _eight_bits(ImageOps.exif_transpose(file))
    picture, done = to_srgb(ImageOps.invert(eight) if negative else eight, file)
    notes += [done] if done else []
    return ReadPhoto(np.asarray(_on_white(picture)), tuple(notes))


def _check_size(width: int, height: int, max_megapixels: float) -> None:
    if width * height > max_megapixels * 1e6:
        raise UndecodableError(
            "too_large",
            f"{width}×{height} is more than {max_megapixels:g} megapixels "
            "(preprocess.max_megapixels)",
        )


@lru_cache(maxsize=1)
def _register_heif() -> None:
    """Teach PIL to read HEIC, as phones write it.

    Raises:
        UndecodableError: the package that can is not installed.
    """
    if importlib.util.find_spec("pillow_heif") is None:
        reason = "it is an HEIC: pip install 'sfe[heif]', or save it as JPEG"
        raise UndecodableError("unreadable", reason)
    import pillow_heif

    pillow_heif.register_heif_opener(thumbnails=False)


def _eight_bits(picture: Image.Image) -> Image.Image:
    """A picture of a mode with 8 bits a channel."""
    if picture.mode.startswith("I"):
        values = np.asarray(picture).astype(np.int64)
        if values.min(initial=0) < 0 or values.max(initial=0) > 65535:
            raise UndecodableError("unreadable", "32-bit integer pixels; save it with 8 or 16 bits")
        return Image.fromarray(_from_sixteen(values))
    if picture.mode == "F":
        return Image.fromarray(_from_floats(np.asarray(picture)))
    if picture.mode in ("P", "PA", "1", "YCbCr", "HSV") and not picture.has_transparency_data:
        return picture.convert("RGB")
    if picture.mode == "LAB":
        return picture
    return picture.convert("RGBA") if picture.has_transparency_data else picture


def _on_white(picture: Image.Image) -> Image.Image:
    """A picture of any 8-bit mode as RGB, transparency laid on white."""
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, BACKDROP)
        return Image.alpha_composite(white, picture).convert("RGB")
    return picture.convert("RGB")


def _from_sixteen(values: NDArray[Any]) -> Pixels:
    """Whole numbers in 0 to 65535 as bytes."""
    return ((values.astype(np.int64) + 128) // 257).clip(0, 255).astype(np.uint8)


def _from_floats(values: NDArray[Any]) -> Pixels:
    """Floating-point pixels as bytes, by the least of the ranges 1, 255 and 65535 that holds all.

    Raises:
        UndecodableError: negative or non-finite pixels, or larger ones: nobody can tell what they
            mean.
    """
    high = float(values.max(initial=0))
    if not np.isfinite(values).all() or values.min(initial=0) < 0 or high > 65535:
        reason = "floating-point pixels beyond 0 to 1, 255 or 65535; save it with 8 or 16 bits"
        raise UndecodableError("unreadable", reason)
    full = next(full for full in (1.0, 255.0, 65535.0) if high <= full)
    return (values.astype(np.float64) * (255.0 / full)).round().astype(np.uint8)


def _decode_tiff(content: bytes, max_megapixels: float) -> Pixels:
    """The first page of a TIFF that PIL has no mode for: floating-point colours and the like."""
    import tifffile

    with tifffile.TiffFile(io.BytesIO(content)) as file:
        page = file.pages.first
        _check_size(page.imagewidth, page.imagelength, max_megapixels)
        values = page.asarray()
    if values.ndim == 3 and values.shape[0] in (3, 4) and values.shape[2] not in (3, 4):
        values = np.moveaxis(values, 0, -1)  # channel by channel
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim != 3 or values.shape[2] not in (1, 2, 3, 4):
        raise UndecodableError("unreadable", f"a TIFF of shape {values.shape}; save it as RGB")
    whole = np.issubdtype(values.dtype, np.integer)
    if whole and values.dtype.itemsize > 2:
        raise UndecodableError("unreadable", "32-bit integer pixels; save it with 8 or 16 bits")
    bytes_ = values if values.dtype == np.uint8 else _from_sixteen(values) if whole else None
    pixels = _from_floats(values) if bytes_ is None else bytes_
    mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[pixels.shape[2]]
    squeezed = pixels[..., 0] if mode == "L" else pixels
    return np.asarray(_on_white(Image.fromarray(squeezed, mode)))
