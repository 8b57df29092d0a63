"""Sets with a folder per class: `train/happy/x.jpg`, `test/3/y.png` (RAF-DB, FER, …)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sfe_core.corpus.importing.classes import (
    WrongLabelError,
    is_class_name,
    need_scheme,
    read_class,
)
from sfe_core.corpus.importing.entries import Entry, Problems
from sfe_core.corpus.layout import find_photos
from sfe_core.errors import UserError


def class_folder(image: Path) -> str | None:
    """The name of the innermost folder of a relative path that names a class."""
    return next((part for part in reversed(image.parts[:-1]) if is_class_name(part)), None)


def read_class_folders(folder: Path, scheme: str | None, problems: Problems) -> Iterator[Entry]:
    """Every image below a folder, its emotion from the folder it lies in.

    Args:
        folder: the set; class folders may lie at any depth.
        scheme: what numbered folders mean, a key of SCHEMES; names need none.
        problems: takes images outside any class and folders with other numbers.

    Raises:
        UserError: no folder names a class, or classes are numbers and `scheme` is None.
    """
    images = [path.relative_to(folder) for path in find_photos(folder)]
    classes = {image: class_folder(image) for image in images}
    names = {name for name in classes.values() if name is not None}
    if not names:
        raise UserError(
            folder, "no image lies in a folder named after an emotion", "e.g. happy/x.jpg"
        )
    need_scheme(names, scheme, str(folder))
    for image, name in classes.items():
        where = image.as_posix()
        if name is None:
            problems.add(where, "wrong label", "lies in no folder named after an emotion")
            continue
        try:
            emotion = read_class(name, scheme)
        except WrongLabelError as error:
            problems.add(where, "wrong label", str(error))
            continue
        yield Entry(where, image.as_posix(), {"emotion": emotion or ""})
