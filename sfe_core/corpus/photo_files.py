"""Which files below a folder are photos: by their ending, else by their first bytes.

What is passed over is counted by kind, so that nothing is left out in silence.
"""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sfe_core.file_kinds import HEAD_BYTES, PICTURE_SUFFIXES, kind_of
from sfe_core.wording import listed

# Beside a photo, and of its name: what somebody wrote of it.
_SIDECAR_SUFFIXES = frozenset(
    {".txt", ".caption", ".json", ".jsonl", ".csv", ".xml", ".xmp", ".aae", ".npz", ".npy", ".pts"}
)
_METADATA = frozenset({"metadata.csv", "metadata.jsonl", "metadata.parquet", "meta_cap.json"})
# Files whose texts or rows are captions and labels of the photos beside them.
TEXT_SUFFIXES = (".txt", ".caption")
METADATA_TABLES = ("metadata.jsonl", "metadata.csv")
_MOST_KINDS, _MOST_NAMES = 4, 2
HIDDEN = "hidden"


@dataclass(frozen=True)
class PhotoScan:
    """What lies below a folder.

    Attributes:
        photos: in the order of their paths.
        passed: (path below the folder, what it is) of every other file, in order.
        companions: how many files say something of photos, and are not in `passed`.
        texts: paths below the folder of texts and metadata tables, whatever photos there are.
    """

    photos: list[Path] = field(default_factory=list)
    passed: list[tuple[str, str]] = field(default_factory=list)
    companions: int = 0
    texts: list[str] = field(default_factory=list)

    @property
    def told(self) -> list[str]:
        """What was passed over, a line a kind, the most frequent first; hidden files left out."""
        by_kind: dict[str, list[str]] = defaultdict(list)
        for name, kind in self.passed:
            if kind != HIDDEN:
                by_kind[kind].append(name)
        ordered = sorted(by_kind.items(), key=lambda item: (-len(item[1]), item[0]))
        lines = []
        for kind, names in ordered[:_MOST_KINDS]:
            lines.append(f"{len(names)} × {kind}: {listed(names, _MOST_NAMES)}")
        if len(ordered) > _MOST_KINDS:
            rest = sum(len(names) for _, names in ordered[_MOST_KINDS:])
            lines.append(f"and {rest} more of {len(ordered) - _MOST_KINDS} other kinds")
        return lines


def find_photos(folder: Path) -> list[Path]:
    """The photos of `scan_photos`."""
    return scan_photos(folder).photos


def scan_photos(folder: Path, companions: Collection[str] = ()) -> PhotoScan:
    """Everything below a folder; nothing where it is missing.

    Links are followed, to folders too, but never in a circle. Hidden files, and what lies in hidden
    folders, are not photos.

    Args:
        folder: where to look.
        companions: paths below it that are known to be something else, such as labels.csv.
    """
    photos: list[tuple[str, Path]] = []
    others: list[tuple[str, str]] = []
    texts: list[str] = []
    written = 0
    for place, names, odd in _walk_folders(Path(folder)):
        below = place.relative_to(folder).as_posix()
        prefix = "" if below == "." else f"{below}/"
        others += [(prefix + name, kind) for name, kind in odd]
        stems = {os.path.splitext(name)[0] for name in names if _suffix(name) in PICTURE_SUFFIXES}
        for name in names:
            path, shown = place / name, prefix + name
            if name in METADATA_TABLES or _suffix(name) in TEXT_SUFFIXES:
                texts.append(shown)
            if shown in companions or name in _METADATA or _is_sidecar(name, stems):
                written += 1
            elif (kind := _kind(path, name)) is None:
                photos.append((shown, path))
            else:
                others.append((shown, kind))
    return PhotoScan([path for _, path in sorted(photos)], sorted(others), written, texts)


def _walk_folders(root: Path) -> Iterator[tuple[Path, list[str], list[tuple[str, str]]]]:
    """(folder, names of its files, what else is odd) of every folder from `root` down.

    Links are followed, but never in a circle; hidden files and folders are odd.
    """
    waiting: list[tuple[Path, frozenset[tuple[int, int]]]] = [(root, frozenset())]
    while waiting:
        place, above = waiting.pop()
        files: list[str] = []
        odd: list[tuple[str, str]] = []
        try:
            here = os.stat(place)
            identity = (here.st_dev, here.st_ino)
            if identity in above:
                yield place.parent, [], [(place.name, "a link in a circle")]
                continue
            with os.scandir(place) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        odd.append((entry.name, HIDDEN))
                    elif entry.is_dir():
                        waiting.append((Path(entry.path), above | {identity}))
                    else:
                        files.append(entry.name)
        except FileNotFoundError:
            continue
        except OSError as error:
            odd.append(("", f"a folder that cannot be read ({error.strerror})"))
        yield place, files, odd


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _is_sidecar(name: str, stems: Collection[str]) -> bool:
    """Whether a file is about the photo beside it: `a.txt`, or as some write it `a.jpg.txt`."""
    stem, suffix = os.path.splitext(name)
    return suffix.lower() in _SIDECAR_SUFFIXES and (
        stem in stems or (_suffix(stem) in PICTURE_SUFFIXES and os.path.splitext(stem)[0] in stems)
    )


def _kind(path: Path, name: str) -> str | None:
    """What a file is if it is not a photo; None for photos, which their ending mostly tells."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            return "not a regular file"
        suffix = _suffix(name)
        if suffix in PICTURE_SUFFIXES:
            return None
        with open(path, "rb") as file:
            kind = kind_of(file.read(HEAD_BYTES), suffix)
        return None if kind.picture else kind.name
    except FileNotFoundError:
        return "a link that leads nowhere"
    except OSError as error:
        return f"a file that cannot be read ({error.strerror})"
