"""Folders of training tools: a text beside each photo, and `10_woman`: ten repeats of a concept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sfe_core.corpus.importing.entries import Entry, Problems
from sfe_core.corpus.photo_files import find_photos
from sfe_core.corpus.sidecars import concept_of, sidecars_of


def is_concept_folders(folder: Path) -> bool:
    """Whether photos below a folder have texts beside them, or lie in folders like `10_woman`."""
    return any(
        concept_of(_folder_of(photo, folder)) or sidecars_of(photo) for photo in find_photos(folder)
    )


def read_concept_folders(folder: Path, problems: Problems) -> Iterator[Entry]:
    """Every photo with its text, else with the concept that its folder is named after.

    Args:
        folder: with the photos, at any depth.
        problems: takes photos of which nothing is written.
    """
    for photo in find_photos(folder):
        listed = photo.relative_to(folder).as_posix()
        texts = [text for _, text in sidecars_of(photo) if text]
        caption = texts[0] if texts else concept_of(_folder_of(photo, folder))
        if caption:
            yield Entry(listed, listed, caption=caption)
        else:
            problems.add(listed, "unlabelled", "no text beside it, and no concept in its folder")


def told_repeats(folder: Path) -> list[str]:
    """A sentence on folders whose number is how often training tools repeat their photos."""
    names = {photo.parent.name if photo.parent != folder else folder.name
             for photo in find_photos(folder)}  # fmt: skip
    numbered = sorted(name for name in names if concept_of(name))
    if not numbered:
        return []
    return [f"the numbers of {', '.join(numbered[:4])} are repeats, which are not taken over"]


def _folder_of(photo: Path, folder: Path) -> str:
    """The folder of a photo; that of the set itself, where it lies right in it."""
    return photo.parent.name if photo.parent != folder else folder.resolve().name
