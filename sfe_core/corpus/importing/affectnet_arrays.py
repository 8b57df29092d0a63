"""AffectNet's eight-label edition: images/<id>.jpg and annotations/<id>_{exp,val,aro,lnd}.npy."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sfe_core.corpus.importing.entries import Entry, Problems
from sfe_core.corpus.tables.cells import read_affect_cell
from sfe_core.corpus.tables.classes import WrongLabelError, read_class
from sfe_core.errors import UserError

ANNOTATIONS, IMAGES = "annotations", "images"
_EXPRESSION = "_exp.npy"


def is_affectnet_arrays(folder: Path) -> bool:
    """Whether a folder, or one of its sub-folders, holds annotations of this form."""
    return any(True for _ in _expressions(folder))


def read_affectnet_arrays(folder: Path, problems: Problems) -> Iterator[Entry]:
    """An entry per expression file; its image is images/<id> beside the annotations.

    Args:
        folder: one set (train_set) or the folder of several.
        problems: takes values out of range and arrays that cannot be read.

    Raises:
        UserError: no annotation of this form.
    """
    found = False
    for path in _expressions(folder):
        found = True
        name = path.name.removesuffix(_EXPRESSION)
        where = path.relative_to(folder).as_posix()
        image = (path.parent.parent / IMAGES / name).relative_to(folder).as_posix()
        try:
            yield Entry(where, image, _labels(path.parent, name))
        except WrongLabelError as error:
            problems.add(where, "wrong label", str(error))
        except (OSError, ValueError, EOFError) as error:
            problems.add(where, "bad line", f"cannot be read ({error})")
    if not found:
        raise UserError(
            folder, f"holds no {ANNOTATIONS}/<id>{_EXPRESSION}", "name the set's folder"
        )


def _labels(folder: Path, name: str) -> dict[str, str]:
    labels = {"emotion": read_class(_value(folder / f"{name}{_EXPRESSION}"), "affectnet") or ""}
    for column, ending in (("valence", "val"), ("arousal", "aro")):
        path = folder / f"{name}_{ending}.npy"
        if path.is_file():
            labels |= read_affect_cell(column, _value(path))
    return labels


def _value(path: Path) -> str:
    """The one value of an array, which holds it as text or number."""
    return str(np.load(path, allow_pickle=False).reshape(-1)[0])


def _expressions(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders.sort()
        if Path(place).name == ANNOTATIONS:
            for name in sorted(files):
                if name.endswith(_EXPRESSION):
                    yield Path(place) / name
