"""Output trees of EMOCA, one folder per kind: `EmocaProcessed_*/{inputs,geometry_detail}`.

The inputs are crops, and become photos; the renders of the same name are kept in the photo's frame
(`given_maps`), so that they take the place of our own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sfe_core.corpus.importing.entries import Entry, Problems
from sfe_core.corpus.layout import INPUTS, MAP_FOLDERS
from sfe_core.corpus.photo_files import find_photos
from sfe_core.errors import UserError
from sfe_core.files import key_of

RENDERS = MAP_FOLDERS["mesh"]


def is_emoca_tree(folder: Path) -> bool:
    """Whether a folder holds inputs and renders."""
    return (folder / INPUTS).is_dir() and (folder / RENDERS).is_dir()


def read_emoca_tree(folder: Path, problems: Problems) -> Iterator[Entry]:
    """Every input that has a render.

    Args:
        folder: with inputs/ and geometry_detail/ of the same sub-folders and names.
        problems: takes inputs without a render and renders without an input.

    Raises:
        UserError: one of the two folders is missing.
    """
    if not is_emoca_tree(folder):
        raise UserError(
            folder, f"has no {INPUTS}/ and {RENDERS}/", "name the folder that holds both"
        )
    renders = {key_of(path, folder / RENDERS): path for path in find_photos(folder / RENDERS)}
    for path in find_photos(folder / INPUTS):
        key = key_of(path, folder / INPUTS)
        listed = path.relative_to(folder).as_posix()
        mesh = renders.pop(key, None)
        if mesh is None:
            problems.add(listed, "missing file", f"{RENDERS}/{key} does not exist")
        else:
            yield Entry(listed, path.relative_to(folder / INPUTS).as_posix(), mesh=mesh)
    for key in renders:
        problems.add(f"{RENDERS}/{key}", "missing file", f"{INPUTS}/{key} does not exist")
