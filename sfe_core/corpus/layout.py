"""Where everything in a corpus lies."""

from __future__ import annotations

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
