"""What came with the photos, in place of our own: a head's render, buffers, codes.

`sfe corpus import` puts it to maps/<folder>/<key>.png beside the photos folder, in the photo's
frame: an EMOCA tree's renders to maps/geometry_detail, which become the mesh maps; the buffers of
DiffusionRig's data bases to maps/normals, maps/albedo and maps/lambertian, as preprocess draws its
own, and codes to maps/codes/<key>.npz, which are put beside those of the fitted head. Pictures are
cropped as the photo is.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from sfe_core.arrays import Floats, Pixels
from sfe_core.corpus.layout import MAP_FOLDERS
from sfe_core.errors import RunError
from sfe_core.files import sha256_file

GIVEN_MESH, GIVEN_CODES = "mesh", "codes"
GIVEN_BUFFERS = ("normals", "albedo", "lambertian")


def given_path(corpus: Path, kind: str, key: str) -> Path:
    """Where what was given with a photo lies, whether or not it is there.

    Args:
        corpus: the corpus folder of the workspace.
        kind: the artefact that it stands for: mesh, one of `GIVEN_BUFFERS`, or codes.
        key: of the photo; of several faces in a photo none has anything given but the first.
    """
    suffix = ".npz" if kind == GIVEN_CODES else ".png"
    return corpus.parent / "maps" / MAP_FOLDERS.get(kind, kind) / f"{key}{suffix}"


def given_mesh_path(corpus: Path, key: str) -> Path:
    """Where the given render of a photo's head lies, see `given_path`."""
    return given_path(corpus, GIVEN_MESH, key)


def read_given_mesh(corpus: Path, key: str, width: int, height: int) -> Pixels | None:
    """The given render of a photo, see `read_given`."""
    return read_given(corpus, GIVEN_MESH, key, width, height)


def read_given_buffers(corpus: Path, key: str, width: int, height: int) -> dict[str, Pixels]:
    """The given buffers of a photo by their names; those that are there, see `read_given`."""
    found = {kind: read_given(corpus, kind, key, width, height) for kind in GIVEN_BUFFERS}
    return {kind: pixels for kind, pixels in found.items() if pixels is not None}


def read_given(corpus: Path, kind: str, key: str, width: int, height: int) -> Pixels | None:
    """A given picture of a photo as uint8 RGB [height, width, 3], black where there is no head.

    Args:
        corpus: the corpus folder of the workspace.
        kind: mesh, or one of `GIVEN_BUFFERS`.
        key: of the photo.
        width, height: of the photo; a picture of another size is stretched to it, bilinearly:
            sharper kernels ring, and the head would seem to reach beyond its rim.

    Returns:
        None where there is none.

    Raises:
        RunError: it is there, and cannot be read.
    """
    path = given_path(corpus, kind, key)
    if not path.is_file():
        return None
    try:
        with Image.open(path) as stored:
            picture = stored.convert("RGB")
    except OSError as error:
        raise _unreadable(path, error) from error
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    return np.array(picture)


def read_given_codes(corpus: Path, key: str) -> dict[str, Floats]:
    """The codes that came with a photo, by name; empty where there are none.

    Raises:
        RunError: the file is there, and cannot be read.
    """
    path = given_path(corpus, GIVEN_CODES, key)
    if not path.is_file():
        return {}
    try:
        with np.load(path, allow_pickle=False) as codes:
            return dict(codes)
    except (OSError, ValueError, EOFError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> RunError:
    return RunError(path, f"cannot be read ({error})", "import it again, or remove it")


def is_away(corpus: Path, key: str) -> bool:
    """Whether a photo's given render is a link that leads nowhere: its disk may be away."""
    path = given_mesh_path(corpus, key)
    return path.is_symlink() and not path.exists()


def given_sha256(corpus: Path, kind: str, key: str) -> str:
    """SHA-256 of a given file; an empty text where there is none."""
    path = given_path(corpus, kind, key)
    return sha256_file(path) if path.is_file() else ""


def given_mesh_sha256(corpus: Path, key: str) -> str:
    """SHA-256 of the given render's file; an empty text where there is none."""
    return given_sha256(corpus, GIVEN_MESH, key)
