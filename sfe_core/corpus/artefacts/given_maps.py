"""Renders that came with the photos: a head's render in the photo's frame, in place of our own.

`sfe corpus import` of an EMOCA output tree puts them to maps/geometry_detail/<key>.png, beside the
photos folder; a photo that has one gets it as its mesh map, cropped as the photo is.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from sfe_core.arrays import Pixels
from sfe_core.corpus.layout import MAP_FOLDERS
from sfe_core.errors import RunError
from sfe_core.files import sha256_file


def given_mesh_path(corpus: Path, key: str) -> Path:
    """Where the given render of a photo lies, whether or not there is one.

    Args:
        corpus: the corpus folder of the workspace.
        key: of the photo; of several faces in a photo none has a given render but the first.
    """
    return corpus.parent / "maps" / MAP_FOLDERS["mesh"] / f"{key}.png"


def read_given_mesh(corpus: Path, key: str, width: int, height: int) -> Pixels | None:
    """The given render of a photo as uint8 RGB [height, width, 3], black where there is no head.

    Args:
        corpus: the corpus folder of the workspace.
        key: of the photo.
        width, height: of the photo; a render of another size is stretched to it, bilinearly:
            sharper kernels ring, and the head would seem to reach beyond its rim.

    Returns:
        None where there is none.

    Raises:
        RunError: it is there, and cannot be read.
    """
    path = given_mesh_path(corpus, key)
    if not path.is_file():
        return None
    try:
        with Image.open(path) as stored:
            picture = stored.convert("RGB")
    except OSError as error:
        raise RunError(
            path, f"cannot be read ({error})", "import it again, or remove it"
        ) from error
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    return np.array(picture)


def is_away(corpus: Path, key: str) -> bool:
    """Whether a photo's given render is a link that leads nowhere: its disk may be away."""
    path = given_mesh_path(corpus, key)
    return path.is_symlink() and not path.exists()


def given_mesh_sha256(corpus: Path, key: str) -> str:
    """SHA-256 of the given render's file; an empty text where there is none."""
    path = given_mesh_path(corpus, key)
    return sha256_file(path) if path.is_file() else ""
