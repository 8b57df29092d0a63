"""One portrait in every file format that turns up, under right, wrong and missing names."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import numpy as np
import tifffile

from tests.cases.portraits import portrait

# What is no photo, by name: its first bytes.
OTHERS: dict[str, bytes] = {
    "clip.mov": b"\0\0\0\x14ftypqt  " + bytes(64),
    "clip.mp4": b"\0\0\0\x18ftypisom" + bytes(64),
    "paper.pdf": b"%PDF-1.7\n",
    "shot.CR2": b"II*\0\x10\0\0\0CR\x02\0" + bytes(64),
    "shot.nef": b"MM\0*\0\0\0\x08" + bytes(64),
    "layers.psd": b"8BPS\0\x01" + bytes(64),
    "set.zip": b"PK\x03\x04" + bytes(64),
    "set.tar": bytes(257) + b"ustar\x0000" + bytes(64),
    "readme": b"These are portraits.\n",
    "Thumbs.db": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(64),
    "nothing": b"",
}


def make(folder: Path) -> None:
    """Pictures that must be read, in pictures/, and what must be counted, in others/."""
    pictures, others = folder / "pictures", folder / "others"
    pictures.mkdir(parents=True, exist_ok=True)
    others.mkdir(exist_ok=True)
    face = portrait(2)
    for name, kind in {
        "jfif.jfif": "JPEG", "jpe.jpe": "JPEG", "ppm.ppm": "PPM", "tga.tga": "TGA",
        "j2k.jp2": "JPEG2000", "webp.webp": "WEBP", "bmp.bmp": "BMP", "gif.gif": "GIF",
        "avif.avif": "AVIF", "no ending": "JPEG", "frame.0001": "PNG", "png named.jpg": "PNG",
        "data.bin": "WEBP",
    }.items():  # fmt: skip
        face.save(pictures / name, kind)
    face.save(pictures / "mpo.mpo", "MPO", save_all=True, append_images=[portrait(3)])
    if importlib.util.find_spec("pillow_heif"):
        import pillow_heif

        pillow_heif.register_heif_opener()
        for name in ("phone.HEIC", "renamed by a phone.jpg"):
            face.save(pictures / name, "HEIF", quality=95)
    colour, grey = np.asarray(face), np.asarray(face.convert("L"))
    for name, values, photometric in (
        ("float to 1.tif", (colour / 255).astype(np.float32), "rgb"),
        ("float to 255.tif", colour.astype(np.float32), "rgb"),
        ("16 bit.tif", colour.astype(np.uint16) * 257, "rgb"),
        ("grey float.tif", (grey / 255).astype(np.float32), "minisblack"),
        ("16 bit negative.tif", (255 - grey).astype(np.uint16) * 257, "miniswhite"),
        ("8 bit negative.tif", 255 - grey, "miniswhite"),
    ):
        tifffile.imwrite(pictures / name, values, photometric=photometric)
    for name, content in OTHERS.items():
        (others / name).write_bytes(content)
    if not os.path.lexists(others / "gone.jpg"):
        (others / "gone.jpg").symlink_to("nowhere.jpg")
