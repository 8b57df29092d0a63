"""Where everything in a corpus lies."""

from __future__ import annotations

from pathlib import Path

INPUTS = "inputs"
CANVAS = "canvas"
MANIFEST = "manifest.parquet"
PREVIEW = "preview.png"
MEAN_SHAPE = "mean_shape"  # holds normals/, albedo/, lambertian/ with the mean of an album
PASSED_OVER = "passed_over.csv"  # files in the photos folder that are not photos

# The guidance map of sfe.yaml → its folder; the folders keep the field's names.
MAP_FOLDERS: dict[str, str] = {
    "landmarks": "landmarks",
    "depth": "depth",
    "mesh": "geometry_detail",
}


def artefact(corpus: Path, folder: str, key: str) -> Path:
    """The picture of `key` in a corpus folder. The key may hold dots, so `.png` is appended."""
    return corpus / folder / f"{key}.png"


def mean_shape_path(corpus: Path, person: str) -> Path:
    """The mean shape of a person, whose name is that of their folder of photos."""
    return corpus / "mean_shapes" / f"{person}.npz"
