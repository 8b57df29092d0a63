"""Synthetic portraits that other cases dress up."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from PIL import Image

from sfe_core.synthesis.render import render_face
from sfe_core.synthesis.spec import sample_face


@lru_cache(maxsize=64)
def portrait(number: int, emotion: str = "neutral", side: int = 256) -> Image.Image:
    """A portrait of person `number`, [side, side] RGB; do not change it in place."""
    return Image.fromarray(render_face(sample_face(number, emotion, number), side).image)


def make(folder: Path) -> None:
    """Three portraits, for cases that need any face."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(3):
        portrait(number, "happy").save(folder / f"{number}.jpg", quality=94)
