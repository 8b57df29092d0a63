"""Folders of training tools: a text beside each photo, and `10_woman`: ten repeats of a concept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sfe_core.corpus.annotations.sidecars import TextsBeside, concept_of, metadata_of, sidecars_of
from sfe_core.corpus.importing.entries import Entry, Problems
from sfe_core.corpus.photo_files import find_photos, scan_photos
from sfe_core.files import key_of
from sfe_core.wording import listed

_NAMED = 4


def is_concept_folders(folder: Path) -> bool:
    """Whether photos below a folder have texts or metadata beside them, or lie in `10_woman`."""
    return any(
        concept_of(_folder_of(photo, folder)) or sidecars_of(photo) or metadata_of(photo)
        for photo in find_photos(folder)
    )


def read_concept_folders(folder: Path, scheme: str | None, problems: Problems) -> Iterator[Entry]:
    """Every photo with what is written beside it, else with the concept of its folder.

    Args:
        folder: with the photos, at any depth.
        scheme: what numbered emotions in metadata mean.
        problems: takes photos of which nothing is written.
    """
    scan = scan_photos(folder)
    photos = {key_of(photo, folder): photo for photo in scan.photos}
    beside = TextsBeside(folder, scan.texts, scheme).of(photos)
    for key, photo in photos.items():
        listed = photo.relative_to(folder).as_posix()
        caption = beside.captions.get(key) or concept_of(_folder_of(photo, folder))
        labels = beside.labels.get(key, {})
        if caption or labels:
            yield Entry(listed, listed, labels, caption or None)
        else:
            problems.add(
                listed, "unlabelled", "nothing is written of it, nor is its folder a concept"
            )


def told_beside(folder: Path, scheme: str | None) -> list[str]:
    """What a person should know of texts, metadata, and the repeats in names of folders."""
    scan = scan_photos(folder)
    keys = {key_of(photo, folder) for photo in scan.photos}
    beside = TextsBeside(folder, scan.texts, scheme).of(keys)
    told = [*([beside.said] if beside.said else []), *beside.notes]
    names = {_folder_of(photo, folder) for photo in scan.photos}
    numbered = sorted(name for name in names if concept_of(name))
    if numbered:
        named = listed(numbered, _NAMED)
        told.append(f"the numbers of {named} are repeats, which are not taken over")
    return told


def _folder_of(photo: Path, folder: Path) -> str:
    """The folder of a photo; that of the set itself, where it lies right in it."""
    return photo.parent.name if photo.parent != folder else folder.resolve().name
