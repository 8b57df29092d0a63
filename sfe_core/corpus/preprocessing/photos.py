"""The photos of a workspace, found once at the start of a run, and the keys they go by."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sfe_core.config.workspace import Workspace
from sfe_core.corpus.absent import Presence
from sfe_core.corpus.layout import MANIFEST
from sfe_core.corpus.manifest import Row
from sfe_core.corpus.photo_files import PhotoScan, scan_photos
from sfe_core.errors import UserError
from sfe_core.files import key_of

# With face_choice all, `name#2` is the key of the second face of `name`.
_FACE_NUMBER = re.compile(r"#\d+$")


class PhotoFile(NamedTuple):
    """A photo that can have a place in the corpus."""

    path: Path
    photo: str  # path below photos/, with extension
    key: str


@dataclass(frozen=True)
class Photos:
    """What lies in the photos folder.

    Attributes:
        refused: rows of photos that cannot have a place: duplicate keys, odd names.
        files: the others.
        scan: all that is there.
    """

    refused: list[Row]
    files: list[PhotoFile]
    scan: PhotoScan

    @classmethod
    def find(cls, workspace: Workspace) -> Photos:
        """Look through the photos folder.

        Raises:
            UserError: no photos folder, or no photo in it.
        """
        config = workspace.config
        scan = scan_photos(workspace.photos, {config.photos.labels, config.photos.captions})
        if not scan.photos:
            found = "holds no photo" if workspace.photos.is_dir() else "is not a folder"
            there = f" ({'; '.join(scan.told)})" if scan.told else ""
            kept = workspace.corpus / MANIFEST
            raise UserError(
                workspace.photos,
                found + there + (f"; {kept} is left as it is" if kept.is_file() else ""),
                "put photos there (jpg, png, heic, webp, …) or run `sfe synthesize`",
            )
        numbered = config.preprocess.face_choice == "all"
        return cls(*name_photos(scan.photos, workspace.photos, numbered), scan)

    def __len__(self) -> int:
        return len(self.files) + len(self.refused)

    def presence(self, prune: bool = False) -> Presence:
        """Which photos are there.

        Args:
            prune: forget the others.
        """
        return Presence(
            frozenset(file.photo for file in self.files),
            frozenset(file.key for file in self.files),
            frozenset(row["photo"] for row in self.refused),
            prune,
        )


def name_photos(
    photos: Iterable[Path], folder: Path, numbered: bool
) -> tuple[list[Row], list[PhotoFile]]:
    """Photos below a folder with the keys they go by.

    Args:
        photos: their paths.
        folder: from which keys begin.
        numbered: whether keys may get the number of a face, so that none may end like one.

    Returns:
        Rows of the photos that can have no key of their own, and the others.
    """
    refused: list[Row] = []
    named: list[PhotoFile] = []
    holder: dict[str, str] = {}

    def refuse(key: str, photo: str, status: str, reason: str) -> None:
        refused.append({"key": key, "photo": photo, "status": status, "reason": reason})

    for path in photos:
        photo, key = path.relative_to(folder).as_posix(), key_of(path, folder)
        try:
            photo.encode("utf-8")
        except UnicodeEncodeError:
            shown = photo.encode("utf-8", "backslashreplace").decode()
            refuse(shown, shown, "unreadable", "the file's name is not UTF-8: rename it")
            continue
        if numbered and _FACE_NUMBER.search(key):
            reason = "its name ends like the number of a face (face_choice all): rename it"
            refuse(key, photo, "duplicate_key", reason)
        elif key in holder:
            reason = f"{holder[key]} has the same key: rename one of them"
            refuse(key, photo, "duplicate_key", reason)
        else:
            holder[key] = photo
            named.append(PhotoFile(path, photo, key))
    return refused, named
