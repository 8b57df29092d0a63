"""From the paths that a list names to the files there are, and the keys they will go by."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from sfe_core.corpus.annotations.captions import TRAILING_CHARACTERS
from sfe_core.corpus.importing.entries import Entry, Problems
from sfe_core.corpus.photo_files import find_photos
from sfe_core.corpus.tables.key_matcher import KeyMatcher
from sfe_core.files import key_of

_SHOWN = 3  # of several images of one name


@dataclass(frozen=True)
class Face:
    """A listed image that is there: its file, its key, and all that was said of it."""

    source: Path
    key: str
    labels: dict[str, str] = field(default_factory=dict)
    caption: str | None = None
    mesh: Path | None = None


class ImageFolder:
    """The images below a folder, found by the longest tail of a listed path."""

    def __init__(self, folder: Path, paths: Iterable[Path] | None = None) -> None:
        """The photos of a folder; or `paths` below it, of pictures inside a file."""
        self.folder = folder
        self.by_key: dict[str, Path] = {}
        self._namesakes: dict[str, list[Path]] = {}  # a.png beside a.jpg
        for path in find_photos(folder) if paths is None else paths:
            key = key_of(path, folder)
            if self.by_key.setdefault(key, path) != path:
                self._namesakes.setdefault(key, []).append(path)
        self._matcher = KeyMatcher(self.by_key)
        self._named: set[Path] = set()

    @property
    def unnamed(self) -> int:
        """How many images nobody has asked for."""
        count = len(self.by_key) + sum(len(paths) for paths in self._namesakes.values())
        return count - len(self._named)

    def file(self, key: str, listed: str) -> Path:
        """The image of a key that a listed path means: of two that differ in suffix, its own."""
        suffix = PurePosixPath(listed).suffix.lower()
        files = [self.by_key[key], *self._namesakes.get(key, ())]
        found = next((path for path in files if path.suffix.lower() == suffix), files[0])
        self._named.add(found)
        return found

    def find(self, listed: str, shortened: bool = False) -> str | None:
        """The key of a listed path, with or without its suffix.

        A name without a folder may lie in any, if only one image bears it.

        Args:
            listed: path as some list has it, of this machine or another.
            shortened: also try it without the characters that some caption files append.
        """
        key = self._matcher.tail(listed) or self._matcher.tail(_aligned(listed))
        if key is None and shortened:
            key = self._matcher.tail(listed[:-TRAILING_CHARACTERS])
        if key is None and len(named := self._by_name(listed)) == 1:
            key = named[0]
        return key

    def why_not(self, listed: str) -> str:
        """Why `find` finds nothing."""
        named = self._by_name(listed)
        if len(named) > 1:
            more = ", …" if len(named) > _SHOWN else ""
            shown = ", ".join(named[:_SHOWN]) + more
            return f"{listed} is the name of {len(named)} images in {self.folder}: {shown}"
        return f"{listed} is not in {self.folder}"

    def _by_name(self, listed: str) -> list[str]:
        """Keys in any folder of a name that a list has without one."""
        return self._matcher.named(listed) or self._matcher.named(_aligned(listed))


def _aligned(listed: str) -> str:
    """The name under which RAF-DB hands out the aligned face: its lists have the plain name."""
    path = PurePosixPath(listed.replace("\\", "/"))
    return str(path.with_name(f"{path.stem}_aligned")) if path.name else listed


def match(
    entries: Iterable[Entry],
    images: ImageFolder,
    problems: Problems,
    prefix: str = "",
    keep_unlabelled: bool = False,
    renaming: bool = True,
    shortening: bool = True,
) -> dict[str, Face]:
    """Faces by key, each image once.

    What several entries say of one image is put together; where they contradict each other the
    first one stands.

    Args:
        entries: what a reader found.
        images: the files.
        problems: takes entries without a file, repeated ones and contradictions.
        prefix: folder put before each key.
        keep_unlabelled: take images that the list says show no emotion.
        shortening: whether paths with a caption may end in two more characters.
        renaming: whether images may get the keys that entries ask for.
    """
    faces: dict[str, Face] = {}
    for entry in entries:
        found = images.find(entry.image, shortened=shortening and entry.caption is not None)
        source = images.file(found, entry.image) if found is not None else None
        if "emotion" in entry.labels and not entry.labels["emotion"] and not keep_unlabelled:
            problems.add(entry.where, "unlabelled", f"{entry.image}: none of the eight emotions")
            continue
        if found is None or source is None:
            problems.add(entry.where, "missing file", images.why_not(entry.image))
            continue
        key = (entry.key if renaming else None) or found
        key = f"{prefix}/{key}" if prefix else key
        labels = {name: cell for name, cell in entry.labels.items() if cell}
        face = Face(source, key, labels, entry.caption, entry.mesh)
        if key in faces:
            face = _join(faces[key], face, entry, problems)
        faces[key] = face
    return faces


def _join(first: Face, second: Face, entry: Entry, problems: Problems) -> Face:
    """What two entries say of one image."""
    differing = [
        f"{name} {first.labels[name]} and {cell}"
        for name, cell in second.labels.items()
        if first.labels.get(name, cell) != cell
    ]
    if second.source != first.source:
        differing.append(f"the key of {first.source.name}")
    if first.caption and second.caption and first.caption != second.caption:
        differing.append("another caption")
    if differing:
        told = f"{entry.image} has {'; '.join(differing)}: the first stands"
        problems.add(entry.where, "contradiction", told)
    elif second.labels.items() <= first.labels.items() and second.caption in (None, first.caption):
        problems.add(entry.where, "duplicate", f"{entry.image} is listed again")
    return replace(
        first,
        labels=second.labels | first.labels,
        caption=first.caption or second.caption,
        mesh=first.mesh or second.mesh,
    )
