"""Portraits cut as known sets hand them out, tight round the face, and badly lit ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tests.cases.portraits import portrait

# Side in pixels and whether grey: FER2013, RAF-DB aligned, AffectNet.
KNOWN_SETS: dict[str, tuple[int, bool]] = {
    "fer": (48, True),
    "raf-db": (100, False),
    "affectnet": (224, False),
}
# Where the face is in a portrait of 256 px: left, top, right, bottom.
_FACE = (56, 62, 206, 212)


def tight(number: int, kind: str, emotion: str = "happy") -> Image.Image:
    """The face of portrait `number`, cut from brow to chin and scaled as that set has it."""
    side, grey = KNOWN_SETS[kind]
    face = portrait(number, emotion).crop(_FACE).resize((side, side), Image.Resampling.LANCZOS)
    return face.convert("L") if grey else face


def lit(picture: Image.Image, gain: float, lift: float = 0.0) -> Image.Image:
    """A picture with its grey levels times `gain` plus `lift`, as 8 bits hold them."""
    levels = np.asarray(picture, float) * gain + lift
    return Image.fromarray(levels.round().clip(0, 255).astype(np.uint8))


def make(folder: Path) -> None:
    """Four people a set; and one in too little, too much and too even light."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(4):
        for kind in KNOWN_SETS:
            tight(number, kind).save(folder / f"{kind}_{number}.png")
    lit(portrait(1), 0.02).save(folder / "dark.png")
    lit(portrait(1), 0.02, 250).save(folder / "bright.png")
    lit(portrait(1), 0.02, 120).save(folder / "flat.png")
