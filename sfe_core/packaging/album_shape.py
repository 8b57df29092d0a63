"""The mean shape of the person whose album a rig learnt, beside it: edits need no corpus then."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sfe_core.arrays import Floats
from sfe_core.config.workspace import Workspace
from sfe_core.corpus.artefacts.writing import write_artefact
from sfe_core.corpus.people.albums import choose_album, person_of
from sfe_core.corpus.people.mean_shape import album_shape
from sfe_core.corpus.reader import Corpus
from sfe_core.errors import RunError

SHAPE_FILE = "mean_shape.npz"


@dataclass(frozen=True)
class AlbumShape:
    """A person's mean shape.

    Attributes:
        person: whose; "" for loose photos.
        reconstruction: anny, emoca or deca, whose heads it is a shape of.
        shape: [K] float32.
    """

    person: str
    reconstruction: str
    shape: Floats


def find_album_shape(workspace: Workspace, person: str | None, reconstruction: str) -> AlbumShape:
    """The mean shape of an album as the corpus has it.

    Args:
        workspace: whose corpus.
        person: whose album; None: the only one there is.
        reconstruction: that fitted the heads.

    Raises:
        UserError: no corpus, no such album, or several and no name.
        RunError: codes are missing or torn.
    """
    keys = Corpus(workspace.corpus).rows["key"].tolist()
    person = choose_album(keys, person, "data.person")
    own = [key for key in keys if person_of(key) == person]
    return AlbumShape(person, reconstruction, album_shape(workspace.corpus, person, own))


def write_album_shape(package: Path, found: AlbumShape) -> None:
    """Write `mean_shape.npz`; the same shape gives the same bytes."""
    arrays = {
        "shape": found.shape,
        "person": np.array(found.person),
        "reconstruction": np.array(found.reconstruction),
    }
    write_artefact(package / SHAPE_FILE, arrays)


def read_album_shape(package: Path) -> AlbumShape | None:
    """What `write_album_shape` wrote; None where there is none.

    Raises:
        RunError: it is torn.
    """
    path = package / SHAPE_FILE
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as stored:
            person, reconstruction = str(stored["person"]), str(stored["reconstruction"])
            return AlbumShape(person, reconstruction, np.asarray(stored["shape"], np.float32))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise RunError(path, f"cannot be read ({error})", "package the checkpoint again") from error
