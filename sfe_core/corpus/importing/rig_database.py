"""DiffusionRig's data base of photos and buffers (Ding et al., CVPR 2023), and DiffusionRig-Emo's.

An LMDB folder, with `length` as decimal text and, for each photo,

    image_000000      PNG, the aligned photo
    normal_000000     pickled float32 tensor [3, S, S]: [-1, 1], 0 off the mesh
    albedo_000000     the same, about [0, 1]
    rendered_000000   the same: albedo under the fitted light, about [0, 1], not clamped
    shape_000000      [100], identity_000000 [150] (shape and texture): in Emo's second version

and, in an album of one person, `mean_shape.pkl` beside: a pickled tensor [1, 100], which then is
the shape in all of its buffers.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sfe_core.arrays import Floats, Pixels
from sfe_core.corpus.artefacts.given_maps import GIVEN_CODES, given_path
from sfe_core.corpus.artefacts.writing import write_artefact
from sfe_core.corpus.importing.entries import Entry, Problems
from sfe_core.corpus.importing.tensor_pickles import WrongTensorError, read_tensor
from sfe_core.corpus.layout import mean_shape_path
from sfe_core.corpus.people.albums import person_of
from sfe_core.errors import UserError
from sfe_core.faces.shading import to_pixels
from sfe_core.files import check_key
from sfe_core.reporting import Reporter

MEAN_SHAPE = "mean_shape.pkl"
_DATA = "data.mdb"
# Our artefact → the beginning of its keys.
_BUFFERS = {"normals": "normal", "albedo": "albedo", "lambertian": "rendered"}
_CODES = {"shape": 100, "identity": 150}


def is_rig_database(folder: Path) -> bool:
    """Whether a folder is an LMDB."""
    return folder.is_dir() and (folder / _DATA).is_file()


def names_of_database(folder: Path) -> list[str]:
    """The names that its photos go by, 000000.png and on.

    Raises:
        UserError: as `read_rig_database`.
    """
    with _opened(folder) as database:
        return [f"{index:06d}.png" for index in range(database.length)]


def pictures_of_database(folder: Path) -> Iterator[tuple[str, bytes | None]]:
    """(name, the picture's bytes) of every photo in order; None where there is none."""
    with _opened(folder) as database:
        for index in range(database.length):
            yield f"{index:06d}.png", database.get("image", index)


def read_rig_database(folder: Path, problems: Problems) -> Iterator[Entry]:
    """An entry per photo.

    Args:
        folder: the LMDB.
        problems: takes numbers without a photo, and photos without one of the buffers.

    Raises:
        UserError: lmdb is not installed; the LMDB cannot be read, or is not of this kind; its first
            photo's buffers are no tensors.
    """
    with _opened(folder) as database:
        for index in range(database.length):
            where = f"{folder.name}: {index:06d}"
            missing = [
                name for name in ("image", *_BUFFERS.values()) if not database.has(name, index)
            ]
            if missing:
                problems.add(where, "missing file", f"has no {missing[0]}_{index:06d}")
            if "image" in missing:
                continue
            if index == 0:
                _try(database)
            yield Entry(where, f"{index:06d}.png")


def _try(database: _Database) -> None:
    """Read what a pickle of the data base is, before anything is written.

    Raises:
        UserError: it is no tensor.
    """
    try:
        database.buffers(0)
        database.codes(0)
        read_mean_shape(database.folder)
    except WrongTensorError:
        pass  # this photo's matter, told when it is imported


def person_of_database(folder: Path, into: str) -> str:
    """The folder below photos/ for its pictures: as asked, or of an album the LMDB's own name.

    Raises:
        UserError: it is an album of one person, and that folder is no person's.
    """
    prefix = check_key(into, "--into").strip("/") if into else ""
    if not (folder / MEAN_SHAPE).is_file():
        return prefix
    prefix = prefix or folder.resolve().name
    if not person_of(f"{prefix}/photo"):
        raise UserError(
            folder / MEAN_SHAPE,
            f"is of one person, and {prefix} is no person's folder",
            "say whose with --into NAME",
        )
    return prefix


def write_buffers(
    folder: Path,
    keys: Mapping[str, str],
    corpus: Path,
    problems: Problems,
    reporter: Reporter,
) -> int:
    """Write the buffers and codes of photos where preprocess looks for what came with them.

    Args:
        folder: the LMDB.
        keys: the photos' names in it to their keys.
        corpus: the corpus folder of the workspace.
        problems: takes buffers of another shape, or with values that are not finite.
        reporter: shown the progress.

    Returns:
        How many photos have buffers.

    Raises:
        UserError: a pickle is not of a tensor; what was written until then stands.
        RunError: a file cannot be written.
    """
    count = 0
    with _opened(folder) as database:
        for name, key in reporter.track(keys.items(), "buffers", total=len(keys)):
            index = int(Path(name).stem)
            try:
                buffers, codes = database.buffers(index), database.codes(index)
            except WrongTensorError as error:
                problems.add(f"{folder.name}: {index:06d}", "bad line", str(error))
                continue
            for kind, pixels in buffers.items():
                write_artefact(given_path(corpus, kind, key), pixels)
            if codes:
                write_artefact(given_path(corpus, GIVEN_CODES, key), codes)
            count += bool(buffers)
    return count


def read_mean_shape(folder: Path) -> Floats | None:
    """The shape of an album's person [100]; None where there is none.

    Raises:
        UserError: it is no pickle of a tensor [1, 100].
    """
    path = folder / MEAN_SHAPE
    if not path.is_file():
        return None
    try:
        return read_tensor(path.read_bytes(), (1, _CODES["shape"]), path)[0]
    except WrongTensorError as error:
        raise UserError(path, f"is a tensor {error}", "get it anew from who made it") from error


def write_mean_shape(folder: Path, corpus: Path, prefix: str) -> Path | None:
    """Keep an album's mean shape for its person: corpus/mean_shapes/NAME.npz, array `shape` [100].

    Args:
        folder: the LMDB.
        corpus: the corpus folder of the workspace.
        prefix: the folder below photos/ of its pictures.

    Returns:
        The file; None where the album brings none.
    """
    shape = read_mean_shape(folder)
    if shape is None:
        return None
    target = mean_shape_path(corpus, person_of(f"{prefix}/photo"))
    write_artefact(target, {"shape": shape})
    return target


@dataclass(frozen=True)
class _Database:
    """An open LMDB of this kind."""

    folder: Path
    transaction: Any
    length: int

    def has(self, name: str, index: int) -> bool:
        # A cursor finds the key without reading the value, a megabyte or more.
        with self.transaction.cursor() as cursor:
            return bool(cursor.set_key(f"{name}_{index:06d}".encode()))

    def get(self, name: str, index: int) -> bytes | None:
        value: bytes | None = self.transaction.get(f"{name}_{index:06d}".encode())
        return value

    def buffers(self, index: int) -> dict[str, Pixels]:
        """Pictures [S, S, 3] of a photo's buffers, as preprocess saves its own; {} without any."""
        content = {kind: self.get(name, index) for kind, name in _BUFFERS.items()}
        image = self.get("image", index)
        if image is None or None in content.values():
            return {}
        side = _side_of(image)
        values = {
            kind: np.moveaxis(
                read_tensor(stored, (3, side, side), self._where(_BUFFERS[kind], index)), 0, 2
            )
            for kind, stored in content.items()
            if stored is not None
        }
        hit = values["normals"].any(axis=2, keepdims=True)
        values["normals"] = (values["normals"] + 1) / 2
        return {kind: to_pixels(np.where(hit, value, 0.0)) for kind, value in values.items()}

    def codes(self, index: int) -> dict[str, Floats]:
        """given_shape [100] and given_identity [150], where the data base has them."""
        found = {}
        for name, length in _CODES.items():
            stored = self.get(name, index)
            if stored is not None:
                found[f"given_{name}"] = read_tensor(stored, (length,), self._where(name, index))
        return found

    def _where(self, name: str, index: int) -> str:
        return f"{self.folder}: {name}_{index:06d}"


def _side_of(image: bytes) -> int:
    """The side of a square picture, which its buffers have, too."""
    try:
        with Image.open(io.BytesIO(image)) as picture:
            width, height = picture.size
    except OSError as error:
        raise WrongTensorError(f"its picture cannot be read ({error})") from error
    if width != height:
        raise WrongTensorError(f"its picture has {width}x{height} pixels, and is no square")
    return width


@contextmanager
def _opened(folder: Path) -> Iterator[_Database]:
    """The data base, read without a lock file beside it.

    Raises:
        UserError: see `read_rig_database`.
    """
    try:
        import lmdb
    except ImportError as error:
        raise UserError(
            folder, "is an LMDB, and lmdb is not installed", "pip install 'sfe[lmdb]'"
        ) from error
    try:
        environment = lmdb.open(
            str(folder), readonly=True, lock=False, readahead=False, create=False
        )
    except lmdb.Error as error:
        raise UserError(
            folder, f"is an LMDB that cannot be read ({error})", "get it anew"
        ) from error
    with environment, environment.begin() as transaction:
        length = transaction.get(b"length")
        if length is None or not length.decode("ascii", "replace").strip().isdecimal():
            raise UserError(
                folder,
                "is an LMDB of another kind: it has no length",
                "those of DiffusionRig are read; export others as pictures and a CSV",
            )
        yield _Database(folder, transaction, int(length))
