"""Photos whose faces do not stand upright, are of two sizes, or may be misread."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw

from tests.cases.portraits import portrait

ANGLES = (0, 50, 90, 120, 180, 270, 305)


def make(folder: Path) -> None:
    """Portraits turned clockwise, two people at two tilts and sizes, and a covered mouth."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, angle in enumerate(ANGLES):
        picture = turned(portrait(number), angle)
        picture.save(folder / f"turned_{angle}.png")
    pair().save(folder / "pair.png")
    masked(portrait(1)).save(folder / "masked.png")


def turned(picture: Image.Image, angle: float) -> Image.Image:
    """Clockwise, on a canvas that holds all of it."""
    return picture.rotate(-angle, Image.Resampling.BICUBIC, expand=True)


def pair() -> Image.Image:
    """A large upright face, and to its right one a third as large that lies on its side."""
    both = Image.new("RGB", (640, 360), (120, 128, 122))
    both.paste(portrait(3, side=320), (10, 20))
    both.paste(turned(portrait(4, side=160), 90), (440, 40))
    return both


def masked(picture: Image.Image) -> Image.Image:
    """With its lower half covered."""
    covered = picture.copy()
    width, height = picture.size
    box = (0.2 * width, 0.52 * height, 0.8 * width, 0.95 * height)
    ImageDraw.Draw(covered).rectangle(box, (150, 180, 205))
    return covered
