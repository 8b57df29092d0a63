"""Photos that stand twice in a folder, as downloads, exports and augmentation leave them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from tests.cases.portraits import portrait

PEOPLE = 8


def _cut(picture: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    """The picture without these shares of its sides."""
    width, height = picture.size
    edges = (left * width, top * height, (1 - right) * width, (1 - bottom) * height)
    return picture.crop(tuple(round(edge) for edge in edges))


def _sized(picture: Image.Image, times: float) -> Image.Image:
    return picture.resize((round(picture.width * times), round(picture.height * times)))


def _marked(picture: Image.Image) -> Image.Image:
    marked = picture.copy()
    ImageDraw.Draw(marked).text((20, 230), "(c) example.org", fill="white")
    return marked


# Kind of copy → ending, how it is made, how it is saved.
COPIES: dict[str, tuple[str, Callable[[Image.Image], Image.Image], dict[str, int]]] = {
    "resaved": (".jpg", lambda picture: picture, {"quality": 60}),
    "png": (".png", lambda picture: picture, {}),
    "webp": (".webp", lambda picture: picture, {"quality": 70}),
    "half": (".jpg", lambda picture: _sized(picture, 0.5), {"quality": 95}),
    "larger": (".jpg", lambda picture: _sized(picture, 1.6), {"quality": 95}),
    "cut": (".jpg", lambda picture: _cut(picture, 0.05, 0.05, 0.05, 0.05), {"quality": 95}),
    "cut aside": (".jpg", lambda picture: _cut(picture, 0.05, 0.05, 0, 0), {"quality": 95}),
    "brighter": (".jpg", lambda picture: ImageEnhance.Brightness(picture).enhance(1.15), {}),
    "darker": (".jpg", lambda picture: ImageEnhance.Brightness(picture).enhance(0.8), {}),
    "contrast": (".jpg", lambda picture: ImageEnhance.Contrast(picture).enhance(1.2), {}),
    "grey": (".jpg", lambda picture: picture.convert("L"), {}),
    "mirrored": (".jpg", ImageOps.mirror, {"quality": 95}),
    "squeezed": (".jpg", lambda picture: picture.resize((256, 224)), {"quality": 92}),
    "marked": (".jpg", _marked, {"quality": 92}),
    "framed": (".jpg", lambda picture: ImageOps.expand(picture, 30, "black"), {"quality": 92}),
    "turned": (".jpg", lambda picture: picture.rotate(2, Image.Resampling.BICUBIC), {}),
}


def save_copy(kind: str, person: int, folder: Path) -> Path:
    """A person's photo in a copy of that kind, below `folder`."""
    suffix, change, options = COPIES[kind]
    path = folder / f"{person} {kind}{suffix}"
    change(portrait(person)).save(path, **options)
    return path


def make(folder: Path) -> None:
    """Eight people's photos, each byte for byte twice, and the first in every kind of copy."""
    folder.mkdir(parents=True, exist_ok=True)
    for person in range(PEOPLE):
        original = folder / f"{person}.jpg"
        portrait(person).save(original, quality=94)
        (folder / f"{person} (1).jpg").write_bytes(original.read_bytes())
    for kind in COPIES:
        save_copy(kind, 0, folder)
