"""Sets with a folder per class: `train/happy/x.jpg`, `test/3/y.png` (RAF-DB, FER, …).

Where a folder is named after an emotion, numbers are not classes: `happy/01/x.jpg` is frame or
person 01 of happy. Where all are numbers, those of one level are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from sfe_core.corpus.importing.entries import Entry, Problems
from sfe_core.corpus.photo_files import find_photos, scan_photos
from sfe_core.corpus.tables.classes import (
    SCHEMES,
    WrongLabelError,
    folder_class,
    is_number,
    numbers_of,
    read_class,
)
from sfe_core.corpus.tables.numbering import Evidence, name_hints, place_hints
from sfe_core.errors import UserError


def read_class_folders(folder: Path, scheme: str | None, problems: Problems) -> Iterator[Entry]:
    """Every image below a folder, its emotion from the folder it lies in.

    Args:
        folder: the set; class folders may lie at any depth.
        scheme: what numbered folders mean; names need none.
        problems: takes images outside any class and folders with other numbers.

    Raises:
        UserError: no folder names a class, or classes are numbers and `scheme` is None.
    """
    for image, name in _classes(folder).items():
        where = image.as_posix()
        if name is None:
            problems.add(where, "wrong label", "lies in no folder named after an emotion")
            continue
        try:
            emotion = folder_class(name) or read_class(name, scheme)
        except WrongLabelError as error:
            problems.add(where, "wrong label", str(error))
            continue
        yield Entry(where, image.as_posix(), {"emotion": emotion or ""})


def has_classes(folder: Path) -> bool:
    """Whether an image lies in a folder named after an emotion, or numbered."""
    images = [path.relative_to(folder) for path in find_photos(folder)]
    return bool(_levels(images, lambda part: folder_class(part) is not None or is_number(part)))


def numbers_of_folders(folder: Path) -> Evidence | None:
    """What is known of the numbers that class folders bear; None where they bear names.

    Raises:
        UserError: no folder names a class.
    """
    classes = _classes(folder)
    numbers = Counter(int(name) for name in classes.values() if name and is_number(name))
    if not numbers:
        return None
    hints = (*name_hints(image.as_posix() for image in classes), *place_hints((folder,)))
    return Evidence(numbers, hints)


def _classes(folder: Path) -> dict[Path, str | None]:
    """The name of each image's class folder; None where it lies in none.

    Raises:
        UserError: no image lies in one; or two levels of numbers could both be the classes.
    """
    images = [path.relative_to(folder) for path in find_photos(folder)]
    named = _levels(images, lambda part: folder_class(part) is not None)
    if named:
        return {image: _named_class(image, named) for image in images}
    numbered = _levels(images, is_number)
    if not numbered:
        told = "; ".join(scan_photos(folder).told)
        raise UserError(
            folder,
            "no image lies in a folder named after an emotion" + (f" ({told})" if told else ""),
            "e.g. happy/x.jpg; unpack archives, and name a list or a Parquet file itself",
        )
    if any(_numbers(image, numbered) > 1 for image in images):
        numbered = Counter({level: numbered[level] for level in numbered if _small(images, level)})
    if len(numbered) > 1 and any(_numbers(image, numbered) > 1 for image in images):
        first = next(image for image in images if _numbers(image, numbered) > 1)
        raise UserError(
            folder,
            f"two levels of folders are numbers that could be classes ({first.as_posix()})",
            "give those that are not classes a letter (p01), or the classes their names",
        )
    return {image: _numbered_class(image, numbered) for image in images}


def _levels(images: Sequence[Path], is_class: Callable[[str], bool]) -> Counter[int]:
    """Depth of folder → how many images have one there that may be a class."""
    return Counter(
        level for image in images for level, part in enumerate(image.parts[:-1]) if is_class(part)
    )


def _named_class(image: Path, levels: Counter[int]) -> str | None:
    """The innermost folder named after an emotion; of two emotions that at the commoner level."""
    named = [(level, part) for level, part in enumerate(image.parts[:-1]) if folder_class(part)]
    if len({folder_class(part) for _, part in named}) > 1:
        return max(named, key=lambda found: (levels[found[0]], found[0]))[1]
    return named[-1][1] if named else None


def _numbered_class(image: Path, levels: Counter[int]) -> str | None:
    parts = [part for level, part in enumerate(image.parts[:-1]) if level in levels]
    return next((part for part in reversed(parts) if is_number(part)), None)


def _numbers(image: Path, levels: Counter[int]) -> int:
    """How many folders of an image may be classes."""
    return sum(level in levels and is_number(p) for level, p in enumerate(image.parts[:-1]))


def _small(images: Sequence[Path], level: int) -> bool:
    """Whether all numbers at a level are such as classes have."""
    numbers = {
        int(i.parts[level])
        for i in images
        if len(i.parts) > level + 1 and is_number(i.parts[level])
    }
    return max(numbers) <= max(max(numbers_of(scheme)) for scheme in SCHEMES)
