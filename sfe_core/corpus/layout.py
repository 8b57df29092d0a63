"""Where everything in a corpus lies, and how a depth picture's 16 bits are read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

INPUTS = "inputs"
CANVAS = "canvas"
MANIFEST = "manifest.parquet"
PREVIEW = "preview.png"

# The guidance map of sfe.yaml → its folder; the folders keep the field's names.
MAP_FOLDERS: dict[str, str] = {
    "landmarks": "landmarks",
    "depth": "depth",
    "mesh": "geometry_detail",
}

PHOTO_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif"}
)

DEPTH_MAXIMUM = 65535


@dataclass(frozen=True)
class DepthCode:
    """What the 16-bit values of a depth picture mean; fixed per backend, never per picture.

    `low` and `high` are the quantity at values 0 and 65535; `unit` is "m" (metres towards the
    camera from the eyes' plane) or "1/m" (inverse distance from the camera). Larger is nearer
    in both. Pixels without a surface hold 0.
    """

    unit: str
    low: float
    high: float

    def decode(self, value: float) -> float:
        """The quantity behind a stored value in 0..65535."""
        return self.low + (self.high - self.low) * value / DEPTH_MAXIMUM


def artefact(corpus: Path, folder: str, key: str) -> Path:
    """The picture of `key` in a corpus folder. The key may hold dots, so `.png` is appended."""
    return corpus / folder / f"{key}.png"


def find_photos(folder: Path) -> list[Path]:
    """Every photo below `folder`, by suffix, in the order of their paths; hidden files left out.

    An empty list where the folder is missing.
    """
    found = []
    for path in folder.rglob("*"):
        inner = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in inner.parts)
        if path.suffix.lower() in PHOTO_SUFFIXES and not hidden and path.is_file():
            found.append((inner.as_posix(), path))
    return [path for _, path in sorted(found)]
