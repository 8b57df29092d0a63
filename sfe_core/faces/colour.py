"""Colours of a picture as sRGB, whatever space its file says they are in."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageCms

from sfe_core.arrays import Doubles, Pixels

_EXIF_IFD, _INTEROP_IFD, _INTEROP_INDEX = 0x8769, 0xA005, 1
# Profiles that move no colour further than this, in grey levels, are sRGB under another name.
_SAME_LEVELS = 2
# A PNG's gAMA this near to sRGB's 1/2.2 is sRGB.
_SRGB_GAMMA, _GAMMA_SLACK = 1 / 2.2, 0.02
_WHITE_D65 = (0.3127, 0.3290)


class Space(NamedTuple):
    """An RGB space of pure gamma.

    Attributes:
        name: as people know it.
        gamma: light is value ** gamma.
        xy: chromaticities (x, y) of white, red, green, blue.
    """

    name: str
    gamma: float
    xy: tuple[tuple[float, float], ...]


SRGB_XY = (_WHITE_D65, (0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
# Adobe RGB (1998) Color Image Encoding, version 2005-05.
ADOBE_RGB = Space("Adobe RGB", 563 / 256, (_WHITE_D65, (0.64, 0.33), (0.21, 0.71), (0.15, 0.06)))


def to_srgb(picture: Image.Image, file: Image.Image) -> tuple[Image.Image, str]:
    """A picture's colours in sRGB.

    Embedded ICC profiles count first, then a camera's sign for Adobe RGB (Interoperability index
    R03: DCF 2.0), then a PNG's gAMA and cHRM chunks. Colours that say nothing of themselves, and
    those that are sRGB's to within two grey levels, stay as they are, to the bit.

    Args:
        picture: of any 8-bit mode.
        file: as PIL opened it, with its metadata.

    Returns:
        The picture, of mode RGB where colours were changed, and what was done in words; "" for
        nothing.
    """
    profile = file.info.get("icc_profile")
    if profile:
        return _by_profile(picture, profile)
    space = _adobe(file) or _png_space(file)
    if space is None or picture.mode in ("L", "LA", "1", "CMYK", "LAB"):
        return picture, ""
    return _by_space(picture, space), f"colours converted from {space.name}"


def _by_profile(picture: Image.Image, content: bytes) -> tuple[Image.Image, str]:
    try:
        name, kind = _describe(content)
        # Programs write an RGB profile into grey pictures, and the other way round.
        mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}[kind]
        if (mode == "CMYK") != (picture.mode == "CMYK"):
            raise ValueError(f"it is for {kind} colours, the picture is {picture.mode}")
        alpha = picture.getchannel("A") if "A" in picture.getbands() else None
        transform, changes = _transform(content, mode)
        if not changes:
            return picture, ""
        plain = picture if picture.mode == mode else picture.convert("RGB").convert(mode)
        seen = ImageCms.applyTransform(plain, transform)
        assert seen is not None  # only a change in place gives nothing back
    except (ImageCms.PyCMSError, OSError, ValueError, KeyError) as error:
        return picture, f"its colour profile is ignored ({error})"
    if alpha is not None:
        seen.putalpha(alpha)
    return seen, f"colours converted from {name}"


@lru_cache(maxsize=16)
def _describe(content: bytes) -> tuple[str, str]:
    """A profile's name and colour space."""
    profile = ImageCms.ImageCmsProfile(io.BytesIO(content)).profile
    name = " ".join((profile.profile_description or "an unnamed profile").split())
    return name, profile.xcolor_space.strip()


@lru_cache(maxsize=16)
def _transform(content: bytes, mode: str) -> tuple[Any, bool]:
    """The way from a profile to sRGB, and whether it changes colours that can be seen."""
    transform = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(content)),
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    if mode not in ("RGB", "L"):
        return transform, True
    probe = Image.fromarray(_lattice()).convert(mode)
    before, after = (
        np.asarray(one, np.int16)
        for one in (probe.convert("RGB"), ImageCms.applyTransform(probe, transform))
    )
    return transform, bool(np.abs(after - before).max() > _SAME_LEVELS)


def _lattice() -> Pixels:
    """Colours all over the RGB cube, [27, 27, 3]."""
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)
    return np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(27, 27, 3)


def _adobe(file: Image.Image) -> Space | None:
    """Adobe RGB where a camera says so by the name of its file format, not by a profile."""
    try:
        exif = file.getexif()
        index = str(exif.get_ifd(_INTEROP_IFD).get(_INTEROP_INDEX, ""))
        if not index:
            index = str(exif.get_ifd(_EXIF_IFD).get(_INTEROP_INDEX, ""))
    except Exception:  # torn metadata raises many types, and says nothing then
        return None
    return ADOBE_RGB if index.startswith("R03") else None


def _png_space(file: Image.Image) -> Space | None:
    """What a PNG says of its colours (W3C, PNG 3rd edition, 11.3.2); None for sRGB."""
    gamma, flat = file.info.get("gamma"), file.info.get("chromaticity")
    if file.format != "PNG" or "srgb" in file.info or not (gamma or flat):
        return None
    numbers = [float(value) for value in flat or ()]
    xy = tuple(zip(numbers[::2], numbers[1::2], strict=False)) or SRGB_XY
    usual = gamma is None or abs(gamma - _SRGB_GAMMA) < _GAMMA_SLACK
    same = all(abs(a - b) < 0.005 for one, other in zip(xy, SRGB_XY, strict=False)
               for a, b in zip(one, other, strict=True))  # fmt: skip
    if (usual and same) or len(xy) != 4 or not 0.1 < (gamma or 1) < 2.5:
        return None
    return Space("the PNG's own gamma and primaries", 1 / (gamma or _SRGB_GAMMA), xy)


def _by_space(picture: Image.Image, space: Space) -> Image.Image:
    alpha = picture.getchannel("A") if "A" in picture.getbands() else None
    values = np.asarray(picture.convert("RGB"))
    light = (np.arange(256) / 255.0) ** space.gamma
    matrix = np.linalg.inv(_to_xyz(SRGB_XY)) @ _to_xyz(space.xy)
    rows = []
    for strip in np.array_split(values, max(1, len(values) // 256)):  # little memory
        linear = (light[strip] @ matrix.T).clip(0, 1)
        rows.append((_encode(linear) * 255).round().astype(np.uint8))
    seen = Image.fromarray(np.concatenate(rows))
    if alpha is not None:
        seen.putalpha(alpha)
    return seen


def _to_xyz(xy: tuple[tuple[float, float], ...]) -> Doubles:
    """Linear RGB to XYZ, [3, 3], from chromaticities of white, red, green, blue."""
    white, *primaries = (np.array([x / y, 1.0, (1 - x - y) / y]) for x, y in xy)
    columns = np.stack(primaries, axis=1)
    return columns * np.linalg.solve(columns, white)


def _encode(linear: Doubles) -> Doubles:
    """Light in [0, 1] to sRGB's values (IEC 61966-2-1)."""
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
