"""The sets of pictures that are measured: drawn ones, and the real photos they are held against."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from sfe_core.corpus.photo_files import find_photos
from sfe_core.corpus.reader import Corpus
from sfe_core.errors import UserError
from sfe_core.faces.decoding import UndecodableError, decode_photo, open_picture
from sfe_core.files import key_of, sha256_file

Item = TypeVar("Item")

# Below half a grey level of spread a picture is one colour: a safety checker's black, a failure.
BLANK_SPREAD = 0.5 / 127.5


@dataclass(frozen=True)
class Picture:
    """One picture, or why there is none.

    Attributes:
        image: [3, S, S] in [-1, 1]; None where `fault` says why.
        fault: "" | "missing" | "unreadable" | "blank".
    """

    image: Tensor | None
    fault: str = ""


class PictureSet(Protocol):
    """Pictures by key, and what decides their content."""

    def picture(self, key: str, size: int) -> Picture:
        """The picture of `key` at `size` pixels."""

    def fingerprint(self, key: str) -> str:
        """Changes whenever the picture of `key` does."""


class DrawnPictures:
    """A folder of `<key>.png` as `draw_series` leaves it."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def path(self, key: str) -> Path:
        """Where the picture of `key` lies; keys may hold dots, so `.png` is appended."""
        return self.folder / f"{key}.png"

    def picture(self, key: str, size: int) -> Picture:
        """The picture of `key`; its central square, shrunk or enlarged (Lanczos), if not `size`."""
        try:
            picture = Image.fromarray(decode_photo(self.path(key).read_bytes()))
        except FileNotFoundError:
            return Picture(None, "missing")
        except (OSError, UndecodableError):
            return Picture(None, "unreadable")
        if picture.size != (size, size):
            picture = ImageOps.fit(picture, (size, size), Image.Resampling.LANCZOS)
        image = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 127.5 - 1.0
        if float(image.std()) < BLANK_SPREAD:
            return Picture(None, "blank")
        return Picture(image)

    def fingerprint(self, key: str) -> str:
        """SHA-256 of the file's bytes, or "missing"."""
        path = self.path(key)
        return sha256_file(path) if path.is_file() else "missing"


class GivenPictures(DrawnPictures):
    """A folder of pictures made elsewhere, found by the keys of a split.

    They are read as photos are (see `faces.decoding`): profiles applied, 16 bits scaled,
    transparency laid on white. A picture is that of a key if its path below the folder, without
    extension, is the key, or the key with `_` for each `/`, or (where no two keys or files share
    it) the key's last part.

    Attributes:
        matched: how many of the keys have a picture.
        unused: files that are no key's.
    """

    def __init__(self, folder: Path, keys: Sequence[str]) -> None:
        """Raises: UserError: no such folder, or none of its pictures goes by a key."""
        super().__init__(folder)
        if not self.folder.is_dir():
            raise UserError(f"--images {folder}", "is not a folder", "give a folder of pictures")
        files = find_photos(self.folder)
        twins: dict[str, list[Path]] = {}
        for path in files:
            twins.setdefault(key_of(path, self.folder), []).append(path)
        named = {name: paths[0] for name, paths in twins.items()}
        last = _unique(list(named.values()), lambda path: key_of(path, path.parent))
        alone = _unique(keys, lambda key: key.rsplit("/", 1)[-1])
        self._paths: dict[str, Path] = {}
        for key in keys:
            end = key.rsplit("/", 1)[-1]
            by_end = last.get(end) if alone.get(end) == key else None
            found = named.get(key) or named.get(key.replace("/", "_")) or by_end
            if found is not None:
                self._paths[key] = found
        self._refuse_twins(twins)
        self.matched = len(self._paths)
        self.unused = len(files) - len(set(self._paths.values()))
        if not self._paths:
            example = f"{keys[0]}.png" if len(keys) else "<key>.png"
            raise UserError(
                f"--images {folder}",
                f"none of its {len(files)} pictures goes by a key of the split",
                f"name them by key, such as {example}",
            )

    def _refuse_twins(self, twins: Mapping[str, list[Path]]) -> None:
        """Refuse a key with two pictures: which of them is meant nobody can tell."""
        for key, path in self._paths.items():
            names = [twin.name for twin in twins[key_of(path, self.folder)]]
            if len(names) > 1:
                raise UserError(
                    f"--images {self.folder}",
                    f"{' and '.join(names)} are both the picture of {key}",
                    "keep one of them",
                )

    def differences(self, side: int) -> list[str]:
        """How the files differ from plain pictures of `side` pixels, in sentences with counts."""
        found: Counter[str] = Counter()
        for path in self._paths.values():
            try:
                found.update(_oddities(path, side))
            except (OSError, SyntaxError, ValueError, UndecodableError):
                continue  # is counted as unreadable
        of = len(self._paths)
        return [f"{count} of {of} pictures {what}" for what, count in found.most_common()]

    def path(self, key: str) -> Path:
        """Where the picture of `key` lies, or would lie."""
        return self._paths.get(key, self.folder / f"{key}.png")


def given_pictures(images: Mapping[str, Path], keys: Sequence[str]) -> dict[str, DrawnPictures]:
    """Folders of pictures made elsewhere, by name; see `GivenPictures`."""
    return {name: GivenPictures(folder, keys) for name, folder in images.items()}


def _oddities(path: Path, side: int) -> Iterator[str]:
    """How one file differs from a plain picture, by its head."""
    with open_picture(path.read_bytes()) as file:
        width, height = file.size
        if width != height:
            yield "are not square: their central square is measured"
        if (small := min(width, height)) != side:
            yield f"are {'shrunk' if small > side else 'enlarged'} to {side} px"
        if file.has_transparency_data:
            yield "have transparency, laid on white"
        if file.mode.startswith(("I", "F")) or file.info.get("bits") == 16:
            yield "have more than 8 bits, scaled by a fixed rule"
        if file.info.get("icc_profile"):
            yield "have a colour profile, converted to sRGB"


def _unique(items: Sequence[Item], name: Callable[[Item], str]) -> dict[str, Item]:
    """Items by name, without those that share theirs."""
    counts = Counter(map(name, items))
    return {name(item): item for item in items if counts[name(item)] == 1}


class RealPictures:
    """The face crops of a corpus."""

    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus

    def has(self, key: str) -> bool:
        """Whether a photo goes with the picture of `key`: it does."""
        del key
        return True

    def picture(self, key: str, size: int) -> Picture:
        """The crop of `key` at `size` pixels, resized as for training."""
        return Picture(self.corpus.image(key, size))

    def fingerprint(self, key: str) -> str:
        """The crop's SHA-256 as the manifest has it, so that nothing needs to be read."""
        return self._hashes[key]

    @cached_property
    def _hashes(self) -> dict[str, str]:
        # Ten thousand reference photos are asked for: one look-up each, not one row of a table.
        rows = self.corpus.rows
        return dict(zip(rows["key"], rows["inputs_sha256"].astype(str), strict=True))
