"""One portrait in the colours of several spaces, each with the profile that says so."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from PIL import Image

from sfe_core.faces.colour import ADOBE_RGB, SRGB_XY
from tests.cases.portraits import portrait

# Gamma, and chromaticities of white, red, green, blue. ROMM RGB: ISO 22028-2, its toe left out.
SPACES = {
    "adobe": (ADOBE_RGB.gamma, ADOBE_RGB.xy),
    "prophoto": (1.8, ((0.3457, 0.3585), (0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001))),
    "p3": (2.2, ((0.3127, 0.3290), (0.680, 0.320), (0.265, 0.690), (0.150, 0.060))),
}
_D50 = np.array([0.9642, 1.0, 0.8249])
# Bradford's cone responses, by which ICC profiles adapt colours to D50 (ICC.1:2022, annex E).
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)


def _xyz(xy) -> np.ndarray:
    """Linear RGB to XYZ under D50, [3, 3]."""
    white, *primaries = (np.array([x / y, 1.0, (1 - x - y) / y]) for x, y in xy)
    columns = np.stack(primaries, axis=1)
    matrix = columns * np.linalg.solve(columns, white)
    scale = (_BRADFORD @ _D50) / (_BRADFORD @ white)
    return np.linalg.inv(_BRADFORD) @ np.diag(scale) @ _BRADFORD @ matrix


def profile(space: str) -> bytes:
    """A matrix profile of version 2 (ICC.1:2001-04) for one of `SPACES`."""
    gamma, xy = SPACES[space]

    def fixed(*values: float) -> bytes:
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    def xyz(values) -> bytes:
        return b"XYZ \0\0\0\0" + fixed(*values)

    name = f"{space} for a test".encode()
    described = b"desc\0\0\0\0" + struct.pack(">I", len(name) + 1) + name + bytes(79)
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))
    red, green, blue = _xyz(xy).T
    tags = {
        b"desc": described, b"cprt": b"text\0\0\0\0none\0", b"wtpt": xyz(_D50),
        b"rXYZ": xyz(red), b"gXYZ": xyz(green), b"bXYZ": xyz(blue),
        b"rTRC": curve, b"gTRC": curve, b"bTRC": curve,
    }  # fmt: skip
    table, content, place = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for tag, data in tags.items():
        table += tag + struct.pack(">II", place + len(content), len(data))
        content += data + bytes(-len(data) % 4)
    size = place + len(content)
    header = struct.pack(">I4sI4s4s4s", size, b"none", 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + fixed(*_D50)
    return header.ljust(128, b"\0") + table + content


def in_space(picture: Image.Image, space: str) -> Image.Image:
    """An sRGB picture's colours as values of another space."""
    gamma, xy = SPACES[space]
    values = np.asarray(picture, float) / 255
    light = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    there = light @ (np.linalg.inv(_xyz(xy)) @ _xyz(SRGB_XY)).T
    return Image.fromarray((there.clip(0, 1) ** (1 / gamma) * 255).round().astype(np.uint8))


def make(folder: Path) -> None:
    """sRGB without a profile, and the same portrait in every space."""
    folder.mkdir(parents=True, exist_ok=True)
    portrait(1).save(folder / "srgb.png")
    for space in SPACES:
        in_space(portrait(1), space).save(folder / f"{space}.png", icc_profile=profile(space))
