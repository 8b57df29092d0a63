"""Output trees of EMOCA, one folder per kind: `EmocaProcessed_*/{inputs,geometry_detail}`.

The inputs are crops, and become photos; the renders of the same name are kept in the photo's frame
(`given_maps`), so that they take the place of our own. Its output with a folder an image, and
DECA's, is known too.
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


def is_output_folders(folder: Path) -> bool:
    """Whether a folder holds EMOCA's or DECA's own output, a folder an image."""
    return any(_name_of(path) is not None for path in find_photos(folder))


def read_output_folders(folder: Path, problems: Problems) -> Iterator[Entry]:
    """The input of every image, which goes by the name of its folder, and EMOCA's render of it.

    EMOCA writes `<name>/inputs.png` and `<name>/geometry_detail.png`, its head on black. DECA
    writes `<name>/<name>_inputs.jpg`; its renders lie over the photo, and are passed over.

    Args:
        folder: with the folders, at any depth.
        problems: takes inputs without a render, and renders without an input.
    """
    photos = find_photos(folder)
    there = set(photos)
    inputs = {path.parent: path for path in photos if _name_of(path) is not None}
    for place, path in inputs.items():
        listed = path.relative_to(folder).as_posix()
        mesh = next((p for p in place.glob(f"{RENDERS}.*") if p in there), None)
        if path.stem == "inputs" and mesh is None:
            problems.add(listed, "missing file", f"{RENDERS} does not lie beside it: no render")
        below = place.parent.relative_to(folder) if place != folder else Path()
        yield Entry(listed, listed, mesh=mesh, key=(below / (_name_of(path) or "")).as_posix())
    for path in photos:
        if path.stem == RENDERS and path.parent not in inputs:
            problems.add(
                path.relative_to(folder).as_posix(), "missing file", "has no inputs beside"
            )


def _name_of(path: Path) -> str | None:
    """The name of the image that a file is the input of; None for other files."""
    place = path.parent
    if path.stem == "inputs":
        known = (f"{RENDERS}.png", "geometry_coarse.png", "shape.npy", "exp.npy")
        return place.resolve().name if any((place / name).is_file() for name in known) else None
    name = path.stem.removesuffix("_inputs")
    is_decas = name != path.stem and (name == place.name or name == place.resolve().name)
    return name if is_decas else None
