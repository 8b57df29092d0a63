"""Photo files to pixels: whatever people keep in photo folders, as 8-bit upright RGB."""

from __future__ import annotations

import io
import warnings
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

Pixels = NDArray[np.uint8]

# What shows through transparent pixels: white, as on a page.
BACKDROP = (255, 255, 255, 255)


class UndecodableError(Exception):
    """A photo that cannot be used; `status` is `unreadable` or `too_large`, the text says why."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


def decode_photo(content: bytes, max_megapixels: float = 100.0) -> Pixels:
    """Decode a photo's bytes.

    Greyscale, palette, CMYK and 16-bit pictures become 8-bit RGB by fixed rules (16 bits are
    divided by 257; nothing is stretched to its own range), transparency is laid on white, of an
    animation the first frame counts, and the EXIF rotation is applied.

    Args:
        content: the file's bytes.
        max_megapixels: larger pictures are refused before they are decoded.

    Returns:
        [H, W, 3] uint8 RGB.

    Raises:
        UndecodableError: empty, torn, not an image, of an unknown pixel format, or too large.
    """
    if not content:
        raise UndecodableError("unreadable", "the file is empty")
    try:
        with _LENIENT:
            return _decode(content, max_megapixels)
    except UndecodableError:
        raise
    except Exception as error:  # torn files raise a dozen unrelated types, by format
        reason = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, Image.UnidentifiedImageError):
            reason = "not an image"
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


_LENIENT = _Lenient()


def _decode(content: bytes, max_megapixels: float) -> Pixels:
    picture = Image.open(io.BytesIO(content))
    width, height = picture.size
    if width * height > max_megapixels * 1e6:
        raise UndecodableError(
            "too_large",
            f"{width}×{height} is more than {max_megapixels:g} megapixels "
            "(preprocess.max_megapixels)",
        )
    picture.load()
    return np.asarray(_to_rgb(ImageOps.exif_transpose(picture)))


def _to_rgb(picture: Image.Image) -> Image.Image:
    """Any PIL mode to RGB."""
    if picture.mode.startswith("I"):
        values = np.asarray(picture).astype(np.int64)
        if values.min(initial=0) < 0 or values.max(initial=0) > 65535:
            raise UndecodableError("unreadable", "32-bit integer pixels; save it with 8 or 16 bits")
        picture = Image.fromarray(((values + 128) // 257).clip(0, 255).astype(np.uint8))
    elif picture.mode == "F":
        raise UndecodableError("unreadable", "floating-point pixels; save it with 8 or 16 bits")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, BACKDROP), picture).convert(
            "RGB"
        )
    return picture.convert("RGB")
