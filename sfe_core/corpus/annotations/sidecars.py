"""What people write beside their photos: `a.txt`, `a.caption`, metadata.jsonl, metadata.csv.

A text beside a photo is its caption (kohya, SimpleTuner): the first line that is not blank. A
metadata file is about the files of its folder (Hugging Face's ImageFolder). In a folder `10_woman`
with such texts, photos without one get the concept, woman. labels.csv and captions.json go before.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from sfe_core.corpus.annotations.records import caption_column, is_records, open_records
from sfe_core.corpus.photo_files import METADATA_TABLES, TEXT_SUFFIXES
from sfe_core.corpus.tables.cells import read_cells
from sfe_core.corpus.tables.classes import WrongLabelError, folder_class
from sfe_core.corpus.tables.column_names import open_labels
from sfe_core.corpus.tables.columns import find_columns
from sfe_core.corpus.tables.key_matcher import KeyMatcher
from sfe_core.corpus.tables.numbering import Evidence, column_hints
from sfe_core.errors import UserError
from sfe_core.file_kinds import PICTURE_SUFFIXES
from sfe_core.wording import listed

_CONCEPT = re.compile(r"(\d+)_(.+)")
_NAMED = 3
_MOST_BYTES = 1 << 16


@dataclass
class Beside:
    """What stands beside the photos.

    Attributes:
        captions: text by key.
        origins: by key, what it comes from: sidecar, metadata or folder.
        labels: key → cells of labels.csv, from metadata.
        said: how many captions come from what; "" where there are none.
        notes: what a person should know, a sentence each.
    """

    captions: dict[str, str] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    labels: dict[str, dict[str, str]] = field(default_factory=dict)
    said: str = ""
    notes: list[str] = field(default_factory=list)

    def add(self, key: str, text: str, origin: str) -> None:
        """Take a caption in, if there is none yet."""
        if text and key not in self.captions:
            self.captions[key], self.origins[key] = text, origin


@dataclass(frozen=True)
class _Table:
    """A metadata file as read: (file's path as listed, caption, cells or None if wrong) a row."""

    folder: str
    shown: str
    rows: tuple[tuple[str, str, dict[str, str] | None], ...]
    torn: int = 0
    unread: str = ""  # why it is not read

    @classmethod
    def read(cls, photos: Path, shown: str, scheme: str | None) -> _Table:
        """Read what lies at `shown` below the photos folder."""
        folder, path = shown.rpartition("/")[0], photos / shown
        try:
            table = open_records(path) if is_records(path) else open_labels(path)
            columns, caption = find_columns(table), caption_column(table)
        except UserError as error:
            return cls(folder, shown, (), unread=error.problem)
        if columns.image is None:
            return cls(folder, shown, (), unread="no column names the file; call it file_name")
        told = scheme
        if columns.numbers_seen and not told:
            hints = tuple(column_hints(table))
            told = Evidence(columns.numbers_seen, hints, columns.valences).scheme
        torn: list[int] = []
        rows = []
        for _, cells in table.rows(lambda number, found: torn.append(number)):
            found: dict[str, str] | None = None
            with suppress(WrongLabelError):
                found = {k: cell for k, cell in read_cells(cells, columns, told).items() if cell}
            text = "" if caption is None else " ".join(cells[caption].split())
            rows.append((cells[columns.image], text, found))
        return cls(folder, shown, tuple(rows), len(torn))

    def tell(self, known: KeyMatcher, beside: Beside) -> None:
        """Take in what it says of the files of its folder; what is wrong is noted."""
        if self.unread:
            beside.notes.append(f"{self.shown} is not read: {self.unread}")
            return
        wrong = unmatched = 0
        for image, text, cells in self.rows:
            key = known.exact(f"{self.folder}/{image}" if self.folder else image)
            if key is None:
                unmatched += 1
                continue
            beside.add(key, text, "metadata")
            wrong += cells is None
            if cells:
                beside.labels[key] = cells | beside.labels.get(key, {})
        odd = {
            "cannot be read": self.torn,
            "have a label that is not an emotion, or a number of which nothing says whose it is "
            "(sfe.yaml: photos.classes)": wrong,
            "name no photo": unmatched,
        }
        told = [f"{n} {words}" for words, n in odd.items() if n]
        if told:
            beside.notes.append(f"{self.shown}: of its lines, {'; '.join(told)}")


class TextsBeside:
    """Texts and metadata files, read once; `of` says what they are to any photos.

    Args:
        photos: the folder.
        files: paths below it, see `PhotoScan.texts`.
        scheme: what numbered emotions in metadata mean; None to tell it from the file.
    """

    def __init__(self, photos: Path, files: Iterable[str], scheme: str | None = None) -> None:
        self._texts: list[tuple[str, str, str]] = []  # key, path, text
        tables = []
        for shown in sorted(files, key=_order):
            if shown.rpartition("/")[2] in METADATA_TABLES:
                tables.append(shown)
                continue
            bare = os.path.splitext(shown)[0]
            if os.path.splitext(bare)[1].lower() in PICTURE_SUFFIXES:
                bare = os.path.splitext(bare)[0]
            self._texts.append((bare, shown, read_sidecar(photos / shown)))
        tables.sort(key=PurePosixPath)
        self._tables = [_Table.read(photos, shown, scheme) for shown in tables]

    def of(self, keys: Collection[str]) -> Beside:
        """What stands beside the photos of some keys."""
        beside, known = Beside(), KeyMatcher(keys)
        empty: list[str] = []
        concepts: dict[str, str] = {}  # folder → concept
        for key, shown, text in self._texts:
            if key not in keys:
                continue
            if not text:
                empty.append(shown)
            beside.add(key, text, "sidecar")
            folder = key.rpartition("/")[0]
            if text and (concept := concept_of(folder)):
                concepts[folder] = concept
        for table in self._tables:
            table.tell(known, beside)
        for key in keys:
            beside.add(key, concepts.get(key.rpartition("/")[0], ""), "folder")
        counts = Counter(beside.origins.values())
        if counts:
            told = ", ".join(f"{n} from {_CALLED[origin]}" for origin, n in counts.items())
            beside.said = f"captions beside the photos: {told}"
        if empty:
            named = listed(empty, _NAMED)
            beside.notes.append(f"{len(empty)} of the texts beside photos hold no caption: {named}")
        return beside


def _order(shown: str) -> tuple[PurePosixPath, bool, str]:
    """By folder, and `a.txt` before `a.caption`."""
    path = PurePosixPath(shown)
    return path.parent, not path.name.endswith(".txt"), path.name


_CALLED = {
    "sidecar": "texts of the same name",
    "metadata": "metadata files",
    "folder": "names of folders",
}


def read_sidecar(path: Path) -> str:
    """The caption in a text file: its first line; empty where it holds only numbers, or no text."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            return ""
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        return ""
    line = next((" ".join(line.split()) for line in lines if line.strip()), "")
    return line if any(letter.isalpha() for letter in line) else ""


def sidecars_of(photo: Path) -> list[tuple[Path, str]]:
    """The texts beside a photo (`a.txt`, `a.caption`, `a.jpg.txt`) and their captions."""
    paths = [photo.with_suffix(suffix) for suffix in TEXT_SUFFIXES]
    paths += [photo.with_name(photo.name + suffix) for suffix in TEXT_SUFFIXES]
    return [(path, read_sidecar(path)) for path in paths if path.is_file()]


def metadata_of(photo: Path) -> list[Path]:
    """The metadata files in the folder of a photo."""
    return [path for name in METADATA_TABLES if (path := photo.with_name(name)).is_file()]


def concept_of(folder: str) -> str:
    """The concept of a folder `10_woman`; empty for others, and for names of emotions."""
    name = folder.rpartition("/")[2]
    found = _CONCEPT.fullmatch(name)
    return found[2].replace("_", " ").strip() if found and folder_class(name) is None else ""
